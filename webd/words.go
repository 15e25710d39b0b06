package webd

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // Paris time on machines without a zone database

	"github.com/pelletier/go-toml/v2"
)

// Lang is a language of the pages. French comes first everywhere.
type Lang string

const (
	French  Lang = "fr"
	English Lang = "en"
)

//go:embed texts/*.toml
var textFiles embed.FS

// Words are the texts of one language, by dotted key.
type Words struct {
	Lang  Lang
	texts map[string]string
}

// loadWords reads texts/<lang>.toml.
func loadWords(l Lang) (*Words, error) {
	b, err := fs.ReadFile(textFiles, "texts/"+string(l)+".toml")
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := toml.Unmarshal(b, &tree); err != nil {
		return nil, fmt.Errorf("texts/%s.toml: %w", l, err)
	}
	w := &Words{Lang: l, texts: map[string]string{}}
	w.flatten("", tree)
	return w, nil
}

func (w *Words) flatten(prefix string, tree map[string]any) {
	for k, v := range tree {
		switch v := v.(type) {
		case map[string]any:
			w.flatten(prefix+k+".", v)
		case string:
			if w.Lang == French {
				v = frenchSpaces.Replace(v)
			}
			w.texts[prefix+k] = v
		}
	}
}

// frenchSpaces puts the no-break spaces that French typography asks for (ux.md §7.3).
var frenchSpaces = strings.NewReplacer(
	" :", "\u00a0:", " ;", "\u202f;", " !", "\u202f!", " ?", "\u202f?", "« ", "«\u00a0", " »", "\u00a0»", " – ", "\u00a0– ")

// Has reports whether key has a text.
func (w *Words) Has(key string) bool { _, ok := w.texts[key]; return ok }

// T gives the text of key, args put in its %s and %d. A missing key shows itself: the
// tests look for that.
func (w *Words) T(key string, args ...any) string {
	s, ok := w.texts[key]
	if !ok {
		return "‹" + key + "›"
	}
	if len(args) == 0 {
		return s
	}
	return fmt.Sprintf(s, args...)
}

// N gives the text of key for n things: key.one or key.other, with n put in. French
// counts 0 as one, English does not (CLDR plural rules).
func (w *Words) N(key string, n int) string {
	if n == 1 || n == 0 && w.Lang == French {
		return w.T(key+".one", w.Number(n))
	}
	return w.T(key+".other", w.Number(n))
}

var paris = func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err) // the zone database is linked in
	}
	return l
}()

var (
	daysFR   = [...]string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"}
	monthsFR = [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}
)

func (w *Words) day(t time.Time) string {
	if w.Lang == English {
		return strconv.Itoa(t.Day())
	}
	if t.Day() == 1 {
		return "1er"
	}
	return strconv.Itoa(t.Day())
}

func (w *Words) month(t time.Time) string {
	if w.Lang == English {
		return t.Month().String()
	}
	return monthsFR[t.Month()-1]
}

// Clock is « 14 h 05 », or 14:05 in English.
func (w *Words) Clock(t time.Time) string {
	t = t.In(paris)
	if w.Lang == English {
		return t.Format("15:04")
	}
	return fmt.Sprintf("%d\u00a0h\u00a0%02d", t.Hour(), t.Minute())
}

// Day is « mardi 3 mars 2026 ».
func (w *Words) Day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.In(paris)
	name := t.Weekday().String()
	if w.Lang == French {
		name = daysFR[t.Weekday()]
	}
	return fmt.Sprintf("%s %s\u00a0%s %d", name, w.day(t), w.month(t), t.Year())
}

// When is « mardi 3 mars 2026 à 14 h 05 ».
func (w *Words) When(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return w.T("date.at", w.Day(t), w.Clock(t))
}

// Date is « 3 mars 2026 ».
func (w *Words) Date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.In(paris)
	return fmt.Sprintf("%s\u00a0%s %d", w.day(t), w.month(t), t.Year())
}

// Month is « mars 2026 ».
func (w *Words) Month(t time.Time) string {
	t = t.In(paris)
	return fmt.Sprintf("%s %d", w.month(t), t.Year())
}

// Short is the hour within a day, « 3 mars » within the year, else « 3 mars 2025 ».
// The exact date always goes with it for assistive technology.
func (w *Words) Short(t, now time.Time) string {
	t, now = t.In(paris), now.In(paris)
	switch {
	case t.Year() == now.Year() && t.YearDay() == now.YearDay():
		return w.Clock(t)
	case t.After(now.AddDate(0, -10, 0)):
		return w.day(t) + "\u00a0" + w.month(t)
	}
	return w.Date(t)
}

// BirthDay turns AAAAMMJJ into words; what does not read as a date is shown as it is.
func (w *Words) BirthDay(s string) string {
	t, err := time.ParseInLocation("20060102", s, paris)
	if err != nil {
		return s
	}
	return w.Date(t)
}

// Number is « 1 250 » with a narrow no-break space, 1,250 in English.
func (w *Words) Number(n int) string {
	sep := "\u202f"
	if w.Lang == English {
		sep = ","
	}
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + sep + s[i:]
	}
	return s
}

// Size is « 3,2 Mo »: decimal units, one digit below ten.
func (w *Words) Size(n int64) string {
	units := [...]string{"o", "ko", "Mo", "Go"}
	if w.Lang == English {
		units = [...]string{"B", "kB", "MB", "GB"}
	}
	v, u := float64(n), 0
	for v >= 999.5 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	if u > 0 && v < 9.95 {
		s = strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	if w.Lang == French {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s + "\u00a0" + units[u]
}
