package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"pli/mailstore"
)

// systemFlagBits pairs IMAP's names with the bits of the store.
var systemFlagBits = [...]struct {
	name imap.Flag
	bit  mailstore.Flags
}{
	{imap.FlagAnswered, mailstore.Answered},
	{imap.FlagFlagged, mailstore.Flagged},
	{imap.FlagDeleted, mailstore.Deleted},
	{imap.FlagSeen, mailstore.Seen},
	{imap.FlagDraft, mailstore.Draft},
}

func systemFlags() (out []imap.Flag) {
	for _, f := range systemFlagBits {
		out = append(out, f.name)
	}
	return out
}

// flagList writes the flags of a message.
func flagList(f mailstore.Flags, keywords []string) []imap.Flag {
	out := make([]imap.Flag, 0, 5+len(keywords))
	for _, b := range systemFlagBits {
		if f&b.bit != 0 {
			out = append(out, b.name)
		}
	}
	for _, k := range keywords {
		out = append(out, imap.Flag(k))
	}
	return out
}

const maxKeywordSize = 100

// parseFlags reads flags that a client gives. \Recent and system flags that we do not
// know are dropped, as are keywords beyond all measure.
func parseFlags(flags []imap.Flag) (f mailstore.Flags, keywords []string) {
next:
	for _, x := range flags {
		for _, b := range systemFlagBits {
			if strings.EqualFold(string(x), string(b.name)) {
				f |= b.bit
				continue next
			}
		}
		if k := string(x); k != "" && k[0] != '\\' && len(k) <= maxKeywordSize {
			keywords = append(keywords, k)
		}
	}
	return f, keywords
}

// knownKeywords lists the keywords of a mailbox, and those that clients and our
// webmail share (ux.md §6.3), so that clients offer them.
func knownKeywords(places []mailstore.Place) []imap.Flag {
	out := []imap.Flag{imap.FlagForwarded, imap.FlagMDNSent, imap.FlagJunk, imap.FlagNotJunk,
		"$label1", "$label2", "$label3", "$label4", "$label5", "$ATraiter", "$AMoi", "$EnAttente", "$Clos", "$ReponseFermee", "$Urgent"}
	seen := make(map[string]bool)
	for _, f := range out {
		seen[strings.ToLower(string(f))] = true
	}
	shared := len(out)
	for _, p := range places {
		for _, k := range p.Keywords {
			if l := strings.ToLower(k); !seen[l] && len(out) < 200 {
				seen[l] = true
				out = append(out, imap.Flag(k))
			}
		}
	}
	slices.Sort(out[shared:])
	return out
}
