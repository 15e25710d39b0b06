package webd

import "pli/dossier"

// categories puts the types of documents (JDV_J07) that their class alone would put
// elsewhere in the family a patient looks for them (ux.md §5.3).
var categories = map[string]Category{
	"11502-2": "analyses", "60568-3": "analyses", "51969-4": "analyses", "96173-0": "analyses", "DOCPAT05": "analyses",
	"34112-3": "stays", "11490-0": "stays", "15507-7": "stays", "15508-5": "stays", "34874-8": "stays", "34875-5": "stays", "34749-2": "stays",
	"77436-4": "stays", "67851-6": "stays", "34133-9": "stays", "18761-7": "stays", "60280-5": "stays", "78341-5": "stays", "86531-1": "stays",
	"11369-6": "vaccines", "87273-9": "vaccines", "96874-3": "vaccines",
	"75482-0": "prevention", "75492-9": "prevention", "83869-8": "prevention", "68817-6": "prevention", "59283-2": "prevention", "DOCPAT06": "prevention",
	"EXPPAT_1": "wishes", "EXPPAT_3": "wishes",
	"55115-0": "prescriptions", "DOCPAT02": "prescriptions", "52040-3": "imaging", "DOCPAT04": "imaging", "DOCPAT07": "certificates",
}

// classes is where the other types of a class go (JDV_J57).
var classes = map[string]Category{
	"10": "visits", "11": "visits", "31": "imaging", "42": "prescriptions", "43": "prescriptions", "44": "prescriptions", "45": "prescriptions",
	"52": "certificates", "60": "refunds",
}

func categoryOf(m dossier.Meta) Category {
	if c, ok := categories[m.TypeCode]; ok {
		return c
	}
	if c, ok := classes[m.ClassCode]; ok {
		return c
	}
	return "others"
}
