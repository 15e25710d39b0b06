package message

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	gomail "github.com/emersion/go-message/mail"
	"golang.org/x/text/unicode/norm"

	"pli/mail"
)

// Person is an address of a header with the name shown beside it. It prints as
// "[person]".
type Person struct {
	Name    string // decoded; the whole text as written when it could not be read
	Address string // local@domain as written; "" when it could not be read
}

func (p Person) String() string             { return "[person]" }
func (p Person) GoString() string           { return "[person]" }
func (p Person) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[person]") }
func (p Person) LogValue() slog.Value       { return slog.StringValue("[person]") }

// Mail is the address as a word of the house; zero when it is none that we could mail.
func (p Person) Mail() mail.Address {
	a, err := mail.ParseAddress(p.Address)
	if err != nil {
		return mail.Address{}
	}
	return a
}

// Fields reads the fields of a header block (RFC 5322 §3.6). Every method does its best
// with a malformed field and never fails; a missing field gives the zero value.
type Fields struct{ h gomail.Header }

// ParseFields reads a raw header block.
func ParseFields(raw []byte) *Fields {
	f := &Fields{}
	f.h.Header.Header = parseHeader(raw)
	return f
}

// Fields reads the header block of the message.
func (o *Outline) Fields() *Fields { return ParseFields(o.Header) }

// Get is the first field of that name, unfolded and not decoded.
func (f *Fields) Get(name string) string { return strings.TrimSpace(f.h.Get(name)) }

// Has reports whether there is a field of that name.
func (f *Fields) Has(name string) bool { return f.h.Has(name) }

// Count is how many fields bear that name.
func (f *Fields) Count(name string) int { return len(f.h.Values(name)) }

// Text is the first field of that name, its encoded words decoded (RFC 2047).
func (f *Fields) Text(name string) string { return decodeWords(f.Get(name)) }

// Subject is decoded and as written, XDM/1.0/DDM+ included (see HumanSubject).
func (f *Fields) Subject() string { return f.Text("Subject") }

// Date is what the Date field says, in UTC; zero when it says nothing readable.
func (f *Fields) Date() time.Time {
	t, err := f.h.Date()
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// MessageID is without angle brackets; "" when there is none. An identifier that breaks
// RFC 5322 §3.6.4 is returned as written between its brackets, or whole.
func (f *Fields) MessageID() string {
	ids := f.ids("Message-Id")
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// InReplyTo and References list identifiers without their angle brackets.
func (f *Fields) InReplyTo() []string  { return f.ids("In-Reply-To") }
func (f *Fields) References() []string { return f.ids("References") }

// ids reads what stands between angle brackets, or the words of a field that has none.
// The library's own reader takes quadratic time on nested comments.
func (f *Fields) ids(name string) []string {
	v := f.Get(name)
	var ids []string
	for rest := v; ; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		id, after, ok := strings.Cut(after, ">")
		if !ok {
			break
		}
		if id = strings.Join(strings.Fields(id), ""); id != "" {
			ids = append(ids, id)
		}
		rest = after
	}
	if ids == nil {
		ids = strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune("<> \t,", r) })
	}
	return ids[:min(len(ids), maxIDs)]
}

// maxIDs bounds what a References field may make us keep.
const maxIDs = 1000

// The people of a message.
func (f *Fields) From() []Person    { return f.People("From") }
func (f *Fields) Sender() []Person  { return f.People("Sender") }
func (f *Fields) ReplyTo() []Person { return f.People("Reply-To") }
func (f *Fields) To() []Person      { return f.People("To") }
func (f *Fields) Cc() []Person      { return f.People("Cc") }
func (f *Fields) Bcc() []Person     { return f.People("Bcc") }

// DispositionNotificationTo is who asked for an MDN (RFC 8098 §2.1).
func (f *Fields) DispositionNotificationTo() []Person {
	return f.People("Disposition-Notification-To")
}

// ReturnPath is the reverse-path written at final delivery by another server; zero
// when the field is missing or null.
func (f *Fields) ReturnPath() mail.Address {
	return Person{Address: strings.Trim(f.Get("Return-Path"), "<> ")}.Mail()
}

// EndsExchange reports whether the message ends an exchange with a patient: the header
// X-MSS-MES decides when it is there, else the subject (mssante.md §6.1, §6.3).
func (f *Fields) EndsExchange() bool {
	if f.Has("X-MSS-MES") {
		return f.Get("X-MSS-MES") == "FIN"
	}
	return f.Subject() == "[FIN]"
}

// MSS is the MSSanté header set (mssante.md §5.3), as written.
type MSS struct {
	MES     string   // X-MSS-MES: "FIN" or ""
	INS     string   // X-MSS-INS: "O", "N" or ""
	CodeCDA []string // X-MSS-CODECDA: CDA codes
	NIL     string   // X-MSS-NIL: reference of the sending product
}

// MSS reads the MSSanté header set.
func (f *Fields) MSS() MSS {
	m := MSS{MES: f.Get("X-MSS-MES"), INS: f.Get("X-MSS-INS"), NIL: f.Get("X-MSS-NIL")}
	for c := range strings.SplitSeq(f.Get("X-MSS-CODECDA"), ",") {
		if c = strings.TrimSpace(c); c != "" {
			m.CodeCDA = append(m.CodeCDA, c)
		}
	}
	return m
}

// Grouped reports whether an address field names a group (RFC 5322 §3.4): a displayed name
// that is of nobody in particular.
func (f *Fields) Grouped(name string) bool {
	return slices.ContainsFunc(f.h.Values(name), func(v string) bool {
		return len(splitOutside(v, ':')) > 1 && len(splitOutside(v, ';')) > 1
	})
}

// Shown is the name as careless mail programs show it: encoded words decoded even within
// quotes, look-alike forms of characters made plain (NFKC), invisible ones left out.
func (p Person) Shown() string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFKC.String(decodeWords(p.Name)))
}

// maxPeople bounds what one field may make us keep.
const maxPeople = 10_000

// People reads an address field. One bad address does not lose the others: it comes
// out with its text as Name and no Address. A group gives its members.
func (f *Fields) People(name string) []Person {
	var ps []Person
	for _, v := range f.h.Values(name) {
		if strings.TrimSpace(v) != "" {
			ps = append(ps, parsePeople(v)...)
		}
	}
	return ps[:min(len(ps), maxPeople)]
}

func parsePeople(v string) []Person {
	if as, err := gomail.ParseAddressList(v); err == nil {
		ps := make([]Person, len(as))
		for i, a := range as {
			ps[i] = Person{strings.ToValidUTF8(a.Name, "\uFFFD"), strings.ToValidUTF8(a.Address, "\uFFFD")}
		}
		return ps
	}
	var ps []Person
	for _, one := range splitOutside(v, ',') {
		if len(ps) == maxPeople {
			break
		}
		if one = strings.TrimSpace(one); one != "" {
			ps = append(ps, loosePerson(one))
		}
	}
	return ps
}

// loosePerson reads one address on its own; the bracketed part stands when the name
// beside it breaks the grammar.
func loosePerson(s string) Person {
	if a, err := gomail.ParseAddress(s); err == nil {
		return Person{a.Name, a.Address}
	}
	if i := strings.LastIndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		if a, err := gomail.ParseAddress(s[i:]); err == nil {
			return Person{decodeWords(unquote(strings.TrimSpace(s[:i]))), a.Address}
		}
	}
	return Person{Name: decodeWords(s)}
}
