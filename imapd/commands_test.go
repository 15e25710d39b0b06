package imapd

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pli/mail"
)

func TestFolders(t *testing.T) {
	h := newHouse(t)
	w := h.login()
	want := []string{
		`* LIST (\HasNoChildren) "/" INBOX`,
		`* LIST (\HasNoChildren \Drafts) "/" "Brouillons"`,
		`* LIST (\HasNoChildren \Sent) "/" "Envoy&AOk-s"`,
		`* LIST (\HasNoChildren \Archive) "/" "Archives"`,
		`* LIST (\HasNoChildren \Junk) "/" "Ind&AOk-sirables"`,
		`* LIST (\HasNoChildren \Trash) "/" "Corbeille"`,
	}
	if d := cmp.Diff(want, w.ok(`LIST "" "*"`)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want[1:], w.ok(`LIST (SPECIAL-USE) "" "*"`)); d != "" {
		t.Error(d)
	}
	if l := w.ok(`LIST "" ""`); len(l) != 1 || l[0] != `* LIST (\Noselect) "/" ""` {
		t.Error(l)
	}
	if l := w.ok(`LIST "" "inb*"`); len(l) != 1 || !strings.HasSuffix(l[0], "INBOX") {
		t.Error(l)
	}
	if l := w.ok("NAMESPACE"); l[0] != `* NAMESPACE (("" "/")) NIL NIL` {
		t.Error(l)
	}
	w.ok("CREATE Cabinet/2026/janvier")
	w.ok("UNSUBSCRIBE Cabinet/2026")
	for command, want := range map[string]string{
		`LIST "" "%"`:                            "INBOX Brouillons Envoy&AOk-s Archives Ind&AOk-sirables Corbeille Cabinet",
		`LIST "" "Cabinet/%"`:                    "Cabinet/2026",
		`LIST Cabinet/ "*"`:                      "Cabinet/2026 Cabinet/2026/janvier",
		`LSUB "" "Cabinet*"`:                     "Cabinet Cabinet/2026/janvier",
		`LIST (SUBSCRIBED) "" "Cabinet*"`:        "Cabinet Cabinet/2026/janvier",
		`LIST "" ("Cab*" "Brou*" Absent)`:        "Brouillons Cabinet Cabinet/2026 Cabinet/2026/janvier",
		`LIST "" "*a*a*a*a*a*a*a*a*a*a*a*a*a*b"`: "",
	} {
		var got []string
		for _, l := range w.ok("%s", command) {
			got = append(got, strings.Trim(l[strings.LastIndex(l, " ")+1:], `"`))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", command, got, want)
		}
	}
	if l := w.ok(`LIST (SUBSCRIBED RECURSIVEMATCH) "" "Cabinet/2026"`); l[0] != `* LIST (\HasChildren) "/" "Cabinet/2026" ("CHILDINFO" ("SUBSCRIBED"))` &&
		l[0] != `* LIST (\HasChildren) "/" "Cabinet/2026" (CHILDINFO ("SUBSCRIBED"))` {
		t.Error(l)
	}
	w.refused("NO [HASCHILDREN] Ce dossier contient", "DELETE Cabinet")
	w.ok("RENAME Cabinet &AMk-t&AOk-")
	if l := w.ok(`LIST "" "&AMk-*" RETURN (STATUS (MESSAGES UIDNEXT))`); len(l) != 6 || l[1] != `* STATUS "&AMk-t&AOk-" (MESSAGES 0 UIDNEXT 1)` {
		t.Error(l)
	}
	w.ok("DELETE &AMk-t&AOk-/2026/janvier")
	w.refused("NO [NONEXISTENT] Ce dossier n'existe pas", "DELETE Cabinet")
	w.refused("NO [NOPERM] Ce dossier fait partie", "DELETE Trash")
	w.refused("NO [NOPERM] Ce dossier fait partie", "RENAME INBOX x")
}

// The names that clients invent lead to the mailbox that is there, and never make
// another one.
func TestAliases(t *testing.T) {
	h := newHouse(t)
	w := h.login()
	w.ok("APPEND \"Sent Items\" (\\Seen) {21+}\r\nSubject: envoi\r\n\r\nab\n")
	for alias, role := range map[string]mail.Role{"Sent": mail.Sent, `"Sent Items"`: mail.Sent, `"&AMk-l&AOk-ments envoy&AOk-s"`: mail.Sent,
		"Trash": mail.Trash, "Drafts": mail.Drafts, "Junk": mail.Junk, "Archive": mail.Archive, `"Deleted Messages"`: mail.Trash} {
		box := h.box(role)
		if l := w.ok("STATUS %s (UIDVALIDITY)", alias); l[0] != fmt.Sprintf("* STATUS %s (UIDVALIDITY %d)", quoted(alias), box.UIDValidity) {
			t.Errorf("STATUS %s: %v", alias, l)
		}
		if l := w.ok(`LIST "" %s`, alias); len(l) != 1 || !strings.Contains(l[0], string(specialUse(role))) || !strings.HasSuffix(l[0], quoted(alias)) {
			t.Errorf("LIST %s: %v", alias, l)
		}
		if l := strings.Join(w.ok("SELECT %s", alias), "\n"); !strings.Contains(l, fmt.Sprintf("[UIDVALIDITY %d]", box.UIDValidity)) {
			t.Errorf("SELECT %s: %v", alias, l)
		}
		w.refused("NO [ALREADYEXISTS] Ce dossier existe déjà : ", "CREATE %s", alias)
	}
	if l := w.ok("SELECT Sent"); !slices.Contains(l, "* 1 EXISTS") {
		t.Error(l)
	}
	for _, pattern := range []string{"*", "%", "S*", "Sent%", "*ent*"} {
		for _, l := range w.ok(`LIST "" "%s"`, pattern) {
			if strings.Contains(l, "Sent\"") || strings.Contains(l, " Sent") {
				t.Errorf("LIST %s shows an alias: %s", pattern, l)
			}
		}
	}
	if ms, err := h.mail.Mailboxes(t.Context(), h.db, h.bal, nil); err != nil || len(ms) != 6 {
		t.Errorf("%d mailboxes, %v", len(ms), err)
	}
}

func quoted(s string) string { return `"` + strings.Trim(s, `"`) + `"` }

func TestSelect(t *testing.T) {
	h := newHouse(t)
	for range 3 {
		h.put("Subject: x\r\n\r\n")
	}
	w := h.login()
	w.ok("SELECT INBOX")
	w.ok("STORE 1 +FLAGS (\\Seen $Forwarded Perso)")
	got := w.ok("SELECT INBOX")
	flags := `\Answered \Flagged \Deleted \Seen \Draft $Forwarded $MDNSent $Junk $NotJunk $label1 $label2 $label3 $label4 $label5 ` +
		`$ATraiter $AMoi $EnAttente $Clos $ReponseFermee $Urgent Perso`
	want := []string{"* OK [CLOSED] Previous mailbox is now closed", "* 3 EXISTS", "* 0 RECENT", "* OK [UNSEEN 2] First unseen message",
		fmt.Sprintf("* OK [UIDVALIDITY %d] UIDs valid", h.box(mail.Inbox).UIDValidity), "* OK [UIDNEXT 4] Predicted next UID",
		"* FLAGS (" + flags + ")", "* OK [PERMANENTFLAGS (" + flags + ` \*)] Permanent flags`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	w.refused("NO [NONEXISTENT] ", "SELECT Absent")
	w.refused("BAD", "FETCH 1 FLAGS")
	w.ok("ENABLE IMAP4rev2")
	if l := w.ok("SELECT INBOX"); !slices.Contains(l, `* LIST () "/" INBOX`) || slices.Contains(l, "* 0 RECENT") {
		t.Error(l)
	}
	w.ok("UNSELECT")
	w.refused("BAD", "FETCH 1 FLAGS")
}

// EXAMINE changes nothing, whatever is asked; CLOSE there is silent.
func TestExamine(t *testing.T) {
	h := newHouse(t)
	h.put("Subject: x\r\n\r\nx\r\n")
	h.put("Subject: y\r\n\r\ny\r\n")
	h.inbox().ok("STORE 1 +FLAGS (\\Deleted)")
	w := h.login()
	if l := w.ok("EXAMINE INBOX"); !slices.Contains(l, "* OK [PERMANENTFLAGS ()] Permanent flags") {
		t.Error(l)
	}
	for _, c := range []string{"STORE 1 -FLAGS (\\Deleted)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Trash"} {
		w.refused("NO [NOPERM] Ce dossier est ouvert en lecture seule.", "%s", c)
	}
	w.ok("FETCH 2 BODY[]")
	w.ok("COPY 2 Trash") // it only reads here
	if l := w.ok("FETCH 1:2 FLAGS"); l[0] != "* 1 FETCH (FLAGS (\\Deleted))" || l[1] != "* 2 FETCH (FLAGS ())" {
		t.Error(l)
	}
	w.ok("CLOSE")
	if l := w.ok("STATUS INBOX (MESSAGES UNSEEN DELETED SIZE)"); l[0] != "* STATUS INBOX (MESSAGES 2 UNSEEN 2 DELETED 1 SIZE 34)" {
		t.Error(l)
	}
}

func TestStoreCopyMoveExpunge(t *testing.T) {
	h := newHouse(t)
	for i := range 6 {
		h.put(fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	w := h.inbox()
	trash := h.box(mail.Trash).UIDValidity
	type step struct {
		command, tagged string
		untagged        []string
	}
	for _, s := range []step{
		{"STORE 1:2 +FLAGS (\\Flagged $label1)", "OK", []string{"* 1 FETCH (UID 1 FLAGS (\\Flagged $label1))", "* 2 FETCH (UID 2 FLAGS (\\Flagged $label1))"}},
		{"STORE 2 -FLAGS ($LABEL1)", "OK", []string{"* 2 FETCH (UID 2 FLAGS (\\Flagged))"}},
		{"UID STORE 3 FLAGS \\Seen \\Deleted", "OK", []string{"* 3 FETCH (UID 3 FLAGS (\\Deleted \\Seen))"}},
		{"STORE 3 +FLAGS (\\Seen)", "OK", []string{"* 3 FETCH (UID 3 FLAGS (\\Deleted \\Seen))"}},
		{"STORE 4 +FLAGS.SILENT (\\Deleted)", "OK", nil},
		{"NOOP", "OK", nil},
		{"COPY 1,3 Trash", fmt.Sprintf("OK [COPYUID %d 1,3 1:2] ", trash), nil},
		{"UID COPY 99 Trash", "OK", nil},
		{"COPY 1 Absent", "NO [TRYCREATE] ", nil},
		{"UID EXPUNGE 4:6", "OK", []string{"* 4 EXPUNGE"}},
		{"UID MOVE 1,5 Corbeille", "OK", []string{fmt.Sprintf("* OK [COPYUID %d 1,5 3:4] COPY completed", trash), "* 4 EXPUNGE", "* 1 EXPUNGE"}},
		{"MOVE 1 Absent", "NO [TRYCREATE] ", nil},
		{"FETCH 1:* UID", "OK", []string{"* 1 FETCH (UID 2)", "* 2 FETCH (UID 3)", "* 3 FETCH (UID 6)"}},
		{"EXPUNGE", "OK", []string{"* 2 EXPUNGE"}},
		{"STORE 1 +FLAGS.SILENT (\\Deleted)", "OK", nil},
		{"CLOSE", "OK", nil},
		{"STATUS INBOX (MESSAGES UIDNEXT)", "OK", []string{"* STATUS INBOX (MESSAGES 1 UIDNEXT 7)"}},
		{"SELECT Trash", "OK", nil},
		{"FETCH 1:* FLAGS", "OK", []string{"* 1 FETCH (FLAGS (\\Flagged $label1))", "* 2 FETCH (FLAGS (\\Deleted \\Seen))", "* 3 FETCH (FLAGS (\\Flagged $label1))", "* 4 FETCH (FLAGS ())"}},
	} {
		untagged, tagged := w.do("%s", s.command)
		if !strings.HasPrefix(tagged, s.tagged) {
			t.Errorf("%s: %s", s.command, tagged)
		}
		if d := cmp.Diff(s.untagged, untagged); d != "" && !strings.HasPrefix(s.command, "SELECT") {
			t.Errorf("%s: %s", s.command, d)
		}
	}
}

func TestSearch(t *testing.T) {
	h := newHouse(t)
	h.put(sample)
	h.put("From: a@mss-a.example\r\nSubject: Compte rendu\r\nDate: Sat, 21 Nov 2026 00:30:00 +0100\r\nX-Long: =?utf-8?q?=C3=89lectro?=\r\n\r\nRien de particulier.\r\nTout va\r\nbien.\r\n")
	h.put("Subject: =?iso-8859-1?q?R=E9sultat?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\nR2x5Y+ltaWUgOiAxLDA1Cg==\r\n")
	h.put("Subject: grand\r\n\r\n" + strings.Repeat("remplissage de ligne\r\n", 20_000) + "aiguille\r\n")
	w := h.inbox()
	w.ok("STORE 2 +FLAGS (\\Seen \\Flagged $label1)")
	w.ok("STORE 4 +FLAGS (\\Deleted)")
	for keys, want := range map[string]string{
		"ALL": "1 2 3 4", "SEEN": "2", "UNSEEN FLAGGED": "", "KEYWORD $LABEL1": "2", "UNKEYWORD $label1": "1 3 4", "NOT DELETED": "1 2 3", "2:3": "2 3", "UID 3:*": "3 4",
		"NOT UID 1:2": "3 4", "OR SEEN DELETED": "2 4", "LARGER 100000": "4", "SMALLER 200": "2 3", "SUBJECT resultat": "1 3", "SUBJECT RÉSULTATS": "1",
		"FROM noémie": "1", "FROM NOEMIE": "1", "TO dupont": "1", "HEADER message-id 1@mss": "1", `HEADER X-Long ""`: "2", "HEADER X-Long electro": "2",
		"SENTON 20-Nov-2026": "1", "SENTSINCE 21-Nov-2026": "2", "SENTBEFORE 21-Nov-2026 NOT SUBJECT grand NOT SUBJECT resultat": "", "SINCE 20-Nov-2026": "1 2 3 4", "BEFORE 20-Nov-2026": "", "ON 20-Nov-2026": "1 2 3 4",
		"BODY \"voici les resultats\"": "1", "BODY dedans": "1", "BODY glycemie": "3", "BODY GLYCÉMIE": "3", `BODY "tout va bien"`: "2", "BODY aiguille": "4", "BODY Petit": "",
		"TEXT petit": "1", "TEXT aiguille": "4", "NOT TEXT e": "", "OR BODY aiguille SUBJECT compte": "2 4", "NOT (BODY aiguille)": "1 2 3", "BODY absent": "", "BODY pdf": "",
	} {
		command := "SEARCH CHARSET UTF-8 " + keys
		if strings.ContainsFunc(keys, func(r rune) bool { return r > 127 }) {
			i := strings.IndexFunc(keys, func(r rune) bool { return r > 127 })
			at := strings.LastIndexByte(keys[:i], ' ') + 1
			command = fmt.Sprintf("SEARCH CHARSET UTF-8 %s{%d+}\r\n%s", keys[:at], len(keys)-at, keys[at:])
		}
		got := w.ok("%s", command)
		if len(got) != 1 || strings.TrimSpace(strings.TrimPrefix(got[0], "* SEARCH")) != want {
			t.Errorf("%s: %q, want %s", keys, got, want)
		}
	}
	for command, want := range map[string]string{
		"SEARCH RETURN (MIN MAX COUNT) ALL":    " MIN 1 MAX 4 COUNT 4",
		"SEARCH RETURN () UNSEEN":              " ALL 1,3:4",
		"SEARCH RETURN (ALL) BODY absent":      "",
		"UID SEARCH RETURN (COUNT) SEEN":       " UID COUNT 1",
		"SEARCH RETURN (SAVE COUNT) SUBJECT r": " COUNT 4",
	} {
		got := w.ok("%s", command)
		if _, rest, _ := strings.Cut(got[0], `")`); len(got) != 1 || rest != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	w.ok("SEARCH RETURN (SAVE) SEEN")
	if l := w.ok("FETCH $ UID"); len(l) != 1 || l[0] != "* 2 FETCH (UID 2)" {
		t.Error(l)
	}
	if l := w.ok("SEARCH OR UID $ DELETED"); l[0] != "* SEARCH 2 4" {
		t.Error(l)
	}
	w.ok("SEARCH RETURN (SAVE) BODY absent")
	if l := w.ok("FETCH $ UID"); len(l) != 0 {
		t.Error(l)
	}
	w.refused("NO [CANNOT] Trop de mots", "SEARCH %s", strings.TrimSpace(manyWords()))
	w.refused("NO [BADCHARSET]", "SEARCH CHARSET KOI8-R ALL")
}

func manyWords() string {
	var sb strings.Builder
	for i := range maxNeedles + 1 {
		fmt.Fprintf(&sb, "BODY mot%d ", i)
	}
	return sb.String()
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true}, {"%", "a/b", false}, {"%", "a", true}, {"a/%", "a/b", true}, {"a/%", "a/b/c", false}, {"*c", "a/b/c", true},
		{"a*%c", "a/b/c", true}, {"%/%", "a/b", true}, {"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "ab", false}, {"*é*", "Envoyés", true},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.name, got)
		}
	}
	if matches(strings.Repeat("*a", 5000)+"b", strings.Repeat("a", 400)) { // in time
		t.Error("matched")
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{"Éléments": "elements", "E\u0301": "e", "ŒUVRE": "œuvre", "ÀÇÑ": "acn", "Straße": "straße", "日本": "日本", "\xff": "\uFFFD", "ſ": "ſ", "Ấ": "a"} {
		if got := fold(in); got != want {
			t.Errorf("%q folds to %q, want %q", in, got, want)
		}
	}
}

// Words are found wherever the reads cut the text.
func FuzzHay(f *testing.F) {
	f.Add("un texte où l'aiguille\r\nse cache", "aiguille se", 3)
	f.Add("É", "e", 1)
	f.Add("", "", 5)
	f.Fuzz(func(t *testing.T, text, needle string, step int) {
		needle = fold(needle)
		h := newHay([]string{needle})
		if err := h.stream(&steps{s: text, n: max(1, step%50)}); err != nil {
			t.Fatal(err)
		}
		want := strings.Contains(string(spaced([]byte(fold(text)))), needle)
		if valid := strings.ToValidUTF8(text, ""); valid == text && h.found[needle] != want {
			t.Errorf("found %v, want %v", h.found[needle], want)
		}
	})
}

type steps struct {
	s string
	n int
}

func (r *steps) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p, r.s[:min(r.n, len(r.s))])
	r.s = r.s[n:]
	return n, nil
}
