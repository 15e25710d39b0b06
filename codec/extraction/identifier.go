package extraction

import "strings"

// Professional puts the identifier of a professional in its one form: type 8 (RPPS) or 0
// (ADELI), and the number without the digit of its type (TRE_G08). national is the
// published "identification nationale", used where the other two are missing. What is
// not one of those two comes back as published, with known false.
func Professional(kind, number, national string) (ppType, pp string, known bool) {
	number, national = compact(number), compact(national)
	ppType = professionalType(kind)
	if number == "" && national != "" {
		if ppType == "" {
			ppType = national[:1]
		}
		number = strings.TrimPrefix(national, ppType)
	}
	if ppType == "" {
		ppType = guessProfessional(number)
	}
	switch ppType {
	case "8":
		if len(number) == 12 && number[0] == '8' {
			number = number[1:]
		}
		return ppType, number, len(number) == 11 && digits(number)
	case "0":
		if len(number) == 10 && number[0] == '0' {
			number = number[1:]
		}
		return ppType, number, len(number) == 9
	}
	return ppType, number, false
}

func professionalType(kind string) string {
	switch k := strings.ToUpper(strings.TrimSpace(kind)); k {
	case "RPPS", "8":
		return "8"
	case "ADELI", "0":
		return "0"
	default:
		return k
	}
}

// guessProfessional tells the type from the number's shape.
func guessProfessional(number string) string {
	switch {
	case len(number) == 11 && digits(number), len(number) == 12 && digits(number) && number[0] == '8':
		return "8"
	case len(number) == 9 && digits(number), len(number) == 10 && digits(number) && number[0] == '0':
		return "0"
	}
	return ""
}

// Place puts the identifier of a structure in its one form: FINESS, SIREN, SIRET or
// another word, and the number without the digit of its type (0 ADELI and rank,
// 1 FINESS, 2 SIREN, 3 SIRET, 4 RPPS and rank). What it does not know comes back as published, with
// known false.
func Place(kind, number string) (placeType, place string, known bool) {
	number = compact(number)
	placeType = structureType(kind)
	if placeType == "" {
		placeType = guessPlace(number)
	}
	digit, size := "", 0
	switch placeType {
	case "FINESS":
		digit, size = "1", 9
	case "SIREN":
		digit, size = "2", 9
	case "SIRET":
		digit, size = "3", 14
	default:
		return placeType, number, false
	}
	if len(number) == size+1 && strings.HasPrefix(number, digit) {
		number = number[1:]
	}
	return placeType, number, len(number) == size && (placeType == "FINESS" || digits(number))
}

func structureType(kind string) string {
	switch k := strings.ToUpper(strings.TrimSpace(kind)); k {
	case "1", "FINESS", "FINESS EG", "FINESS EJ":
		return "FINESS"
	case "2", "SIREN":
		return "SIREN"
	case "3", "SIRET":
		return "SIRET"
	default:
		return k
	}
}

// guessPlace tells the type from the number's shape.
func guessPlace(number string) string {
	switch {
	case len(number) == 9, len(number) == 10 && number[0] == '1':
		return "FINESS"
	case len(number) == 14 && digits(number), len(number) == 15 && digits(number) && number[0] == '3':
		return "SIRET"
	}
	return ""
}

// compact drops spaces and raises letters: a FINESS of Corsica has one.
func compact(s string) string {
	if strings.IndexByte(s, ' ') >= 0 {
		s = strings.ReplaceAll(s, " ", "")
	}
	return strings.ToUpper(s)
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
