package policy

import (
	"slices"

	"pli/fault"
	"pli/health"
)

// Rules about what is filed in a dossier and who reads it.

var (
	filing  = []Action{FileDocument}
	holding = []Action{KeepDocument, ReadDocument, ReadDossier}
	reading = []Action{ReadDocument}

	noDocument = fault.Text{FR: "Ce document n'existe pas ou plus.", EN: "This document does not exist (any more)."}
	notFiled   = fault.Text{FR: "Ce document n'a pas été rangé dans le dossier du patient.", EN: "This document was not filed in the patient's record."}
)

// read makes a rule on what the ingest corridor read: no reading, no filing.
func read(check func(Reading, Facts) verdict) func(Question, Facts) verdict {
	return func(_ Question, f Facts) verdict {
		if f.Reading == nil {
			return missing
		}
		return check(*f.Reading, f)
	}
}

var dossierRules = []Rule{
	{
		ID: "R-FILE-01", Actions: filing, Code: health.NoINS,
		Meaning: "The document bears an INS, by one of its OIDs.",
		Source:  "dmp.md §4.4 row 1, §1.5 rule 3",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict { return need(r.HasINS) }),
	},
	{
		ID: "R-FILE-02", Actions: filing, Code: health.NoINS,
		Meaning: "The sender vouches that the INS is qualified; a number that is not is no INS for the receiver.",
		Source:  "dmp.md §4.4 row 1, §1.4",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict {
			if r.HasINS != Yes {
				return silent
			}
			return need(r.SenderQualified)
		}),
	},
	{
		ID: "R-FILE-03", Actions: filing, Code: health.INSIncomplete,
		Meaning: "The five strict traits come with the INS.",
		Source:  "dmp.md §1.3, §1.5 rule 3",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict {
			if r.HasINS != Yes {
				return silent
			}
			return need(r.Complete)
		}),
	},
	{
		ID: "R-FILE-04", Actions: filing, Code: health.INSMismatch,
		Meaning: "A real INS has its right key; test INS are excused.",
		Source:  "dmp.md §1.2",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict {
			if r.HasINS != Yes || r.Class == health.TestINS {
				return silent
			}
			return need(r.KeyValid)
		}),
	},
	{
		ID: "R-FILE-05", Actions: filing, Code: health.PatientUnknown,
		Meaning: "The INS is of the class that this house files: real in production, test elsewhere.",
		Source:  "dmp.md §4.4 row 1, §1.5 rule 1",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, f Facts) verdict {
			if r.HasINS == No {
				return silent
			}
			if f.Class == "" || r.Class == "" {
				return missing
			}
			return denyIf(r.Class != f.Class)
		}),
	},
	{
		ID: "R-FILE-06", Actions: filing, Code: health.PatientUnknown,
		Meaning: "Somebody here has this INS.",
		Source:  "dmp.md §1.5 rule 3",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict {
			if r.HasINS != Yes {
				return silent
			}
			return need(r.PatientFound)
		}),
	},
	{
		ID: "R-FILE-07", Actions: filing, Code: health.INSMismatch,
		Meaning: "The strict traits are those of the patient.",
		Source:  "dmp.md §4.4 row 2, §1.5 rule 2",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict {
			if r.PatientFound != Yes {
				return silent
			}
			return need(r.TraitsMatch)
		}),
	},
	{
		ID: "R-FILE-08", Actions: filing, Code: health.PatientUnknown,
		Meaning: "The dossier is open; a closed one reads as unknown.",
		Source:  "dmp.md §4.4 row 3",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, f Facts) verdict {
			if r.PatientFound != Yes {
				return silent
			}
			return patientFact(f, func(p Patient) verdict { return need(p.Open) })
		}),
	},
	{
		ID: "R-FILE-09", Actions: filing, Code: health.OtherError,
		Meaning: "Our own identity of the patient is qualified, and of the class of the house.",
		Source:  "dmp.md §4.4 row 1, §1.4",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, f Facts) verdict {
			if r.PatientFound != Yes {
				return silent
			}
			return patientFact(f, func(p Patient) verdict {
				if p.Class != f.Class {
					return denies
				}
				return need(p.Qualified)
			})
		}),
	},
	{
		ID: "R-FILE-10", Actions: filing, Code: health.OtherError,
		Meaning: "No opposition to feeding for a legitimate reason is recorded.",
		Source:  "dmp.md §4.4 row 4; CSP R.1111-47",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, f Facts) verdict {
			if r.PatientFound != Yes {
				return silent
			}
			return patientFact(f, func(p Patient) verdict { return forbid(p.FeedingOpposed) })
		}),
	},
	{
		ID: "R-FILE-11", Actions: filing, Code: health.NotLatestVersion,
		Meaning: "A replacement aims at the latest version.",
		Source:  "dmp.md §4.4 row 8, §4.5",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict { return need(r.Latest) }),
	},
	{
		ID: "R-FILE-12", Actions: filing, Code: health.NotTheAuthor,
		Meaning: "A replacement comes from the author or from his structure.",
		Source:  "dmp.md §4.5",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict { return need(r.Author) }),
	},
	{
		ID: "R-FILE-13", Actions: filing, Code: health.OtherError,
		Meaning: "The type of the document is known, and its class.",
		Source:  "dmp.md §4.4 row 5",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict { return need(r.TypeKnown) }),
	},
	{
		ID: "R-FILE-14", Actions: filing, Code: health.OtherError,
		Meaning: "A document whose confidentiality is R or V is not filed.",
		Source:  "dmp.md §4.4 row 6",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict {
			if len(r.Confidentiality) == 0 {
				return missing
			}
			return denyIf(slices.Contains(r.Confidentiality, health.Restricted) || slices.Contains(r.Confidentiality, health.VeryRestricted))
		}),
	},
	{
		ID: "R-FILE-15", Actions: filing, Code: health.OtherError,
		Meaning: "The author is identified by a national identifier, and his structure is identified.",
		Source:  "dmp.md §4.4 row 7",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict { return need(r.AuthorIdentified) }),
	},
	{
		ID: "R-FILE-16", Actions: filing, Code: health.OtherError,
		Meaning: "What did not come in an XDM archive is filed by the patient only.",
		Source:  "dmp.md §4.4 row 10",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: read(func(r Reading, _ Facts) verdict { return need(r.Archive) }),
	},
	{
		ID: "R-FILE-17", Actions: filing, Grants: true,
		Meaning: "The document job files in the dossier of the patient whom the document names.",
		Source:  "dmp.md §4.4; CSP L.1111-15",
		Fault:   fault.InvalidContent, Text: notFiled,
		check: func(q Question, f Facts) verdict {
			return grantIf(q.Actor.House && f.Reading != nil && f.Patient != nil && q.Object.Patient != 0 && f.Patient.ID == q.Object.Patient)
		},
	},
	{
		ID: "R-HOLD-01", Actions: holding,
		Meaning: "The dossier is that of the signed-in patient; anybody else is told that there is nothing.",
		Source:  "dmp.md §5; CSP L.1111-19",
		Fault:   fault.Withheld, Text: noDocument,
		check: func(q Question, f Facts) verdict {
			if q.Object.Patient == 0 || q.Actor.Patient != q.Object.Patient {
				return denies
			}
			if f.Patient == nil {
				return denies // no such dossier: the same answer
			}
			return denyIf(f.Patient.ID != q.Object.Patient || f.Patient.Account != q.Actor.Account)
		},
	},
	{
		ID: "R-HOLD-02", Actions: holding,
		Meaning: "The dossier is open.",
		Source:  "dmp.md §5.3",
		Fault:   fault.Closed,
		Text:    fault.Text{FR: "Ce dossier est fermé.", EN: "This record is closed."},
		check: func(_ Question, f Facts) verdict {
			return patientFact(f, func(p Patient) verdict { return need(p.Open) })
		},
	},
	{
		ID: "R-KEEP-01", Actions: []Action{KeepDocument},
		Meaning: "A patient keeps attachments of messages of his own BAL.",
		Source:  "mssante.md §6.1",
		Fault:   fault.Withheld, Text: noDocument,
		check: func(q Question, f Facts) verdict {
			return patientFact(f, func(p Patient) verdict {
				return denyIf(q.Object.BAL == 0 || p.BAL != q.Object.BAL || q.Actor.BAL != q.Object.BAL)
			})
		},
	},
	{
		ID: "R-KEEP-02", Actions: []Action{KeepDocument}, Grants: true,
		Meaning: "A patient files in his own dossier, attachment by attachment.",
		Source:  "mssante.md §6.1; dmp.md §4.4 row 10",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict { return grantIf(holder(q, f)) },
	},
	{
		ID: "R-READ-01", Actions: reading,
		Meaning: "The document is one of this dossier.",
		Source:  "dmp.md §5.3",
		Fault:   fault.Withheld, Text: noDocument,
		check: func(q Question, f Facts) verdict {
			if f.Stored == nil {
				return denies // not there at all: the same answer
			}
			return denyIf(f.Stored.ID != q.Object.Document || f.Stored.Patient != q.Object.Patient)
		},
	},
	{
		ID: "R-READ-02", Actions: reading,
		Meaning: "A deleted document is not read by the patient.",
		Source:  "dmp.md §5.3",
		Fault:   fault.NotFound, Text: noDocument,
		check: func(_ Question, f Facts) verdict {
			if f.Stored == nil {
				return silent
			}
			return forbid(f.Stored.Deleted)
		},
	},
	{
		ID: "R-READ-03", Actions: reading,
		Meaning: "A document marked INVISIBLE_PATIENT does not exist for the patient until a professional announces it.",
		Source:  "dmp.md §3.5; mssante.md §7",
		Fault:   fault.Withheld, Text: noDocument,
		check: func(_ Question, f Facts) verdict {
			if f.Stored == nil {
				return silent
			}
			if len(f.Stored.Visibility) == 0 {
				return missing
			}
			return denyIf(slices.Contains(f.Stored.Visibility, health.HiddenToPatient))
		},
	},
	{
		ID: "R-READ-04", Actions: []Action{ReadDocument, ReadDossier}, Grants: true,
		Meaning: "A patient reads his own dossier, its documents and its history.",
		Source:  "dmp.md §5.1; CSP L.1111-19",
		Fault:   fault.Forbidden, Text: fault.Forbidden.Text(),
		check: func(q Question, f Facts) verdict { return grantIf(holder(q, f)) },
	},
}

func patientFact(f Facts, check func(Patient) verdict) verdict {
	if f.Patient == nil {
		return missing
	}
	return check(*f.Patient)
}

// holder reports whether the actor is the patient of the dossier.
func holder(q Question, f Facts) bool {
	return f.Patient != nil && q.Object.Patient != 0 && q.Actor.Account != 0 &&
		f.Patient.ID == q.Object.Patient && q.Actor.Patient == q.Object.Patient && f.Patient.Account == q.Actor.Account
}
