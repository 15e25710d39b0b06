package ldapd

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/internal/pg"
	"pli/internal/pgtest"
)

type noPatients struct{}

func (noPatients) ForPatients(string) bool { return false }

// realDirectory is directory/search over PostgreSQL, holding these.
func realDirectory(t testing.TB, ls []listing.Listing) *search.Searcher {
	t.Helper()
	db := pgtest.DB(t)
	err := db.InTx(context.Background(), func(ctx context.Context, tx *pg.Tx) error {
		words := map[string]bool{}
		rows := make([][]any, len(ls))
		for i := range ls {
			l := ls[i]
			l.SinceAt, l.SeenAt = time.Unix(1_790_000_000, 0).UTC(), time.Unix(1_790_000_000, 0).UTC()
			if l.ChangedAt.IsZero() {
				l.ChangedAt = l.SinceAt
			}
			l.Vocabulary(func(w string) { words[w] = true })
			rows[i] = l.Row()
		}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"listing_a"}, listing.Columns, pgx.CopyFromRows(rows)); err != nil {
			return err
		}
		for w := range words {
			if _, err := tx.Exec(ctx, "INSERT INTO word_a (word) VALUES ($1)", w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return search.New(db, noPatients{})
}

func TestTheRealDirectory(t *testing.T) {
	h := newHouse(t, options{crowd: crowdOf(250), search: realDirectory(t, crowdOf(250))})
	c := h.signedIn()
	r, err := c.SearchWithPaging(sub("(sn=duval)", "mail"), 40)
	h.check(err)
	seen := map[string]bool{}
	for _, e := range r.Entries {
		seen[e.DN] = true
	}
	if len(r.Entries) != 250 || len(seen) != 250 {
		t.Errorf("%d entries in pages, %d of them different", len(r.Entries), len(seen))
	}
	q := sub("(|(cn=*duv*)(mail=*duv*)(givenName=*duv*)(sn=*duv*))", "mail")
	q.SizeLimit = 10
	r, err = c.Search(q)
	wantCode(t, err, sizeLimitExceeded)
	if r == nil || len(r.Entries) != 10 {
		t.Errorf("ten of a completion: %v", err)
	}
	one := "uid=" + h.crowd.all[0].Key.String() + "," + base
	if r, err := c.Search(baseRead(one, "(objectClass=*)", "mail")); err != nil || mails(r) != "karim.haddad" {
		t.Errorf("by name: %v", err)
	}
	_, err = c.Search(baseRead("uid=00112233445566778899aabbccddeeff,"+base, "(objectClass=*)"))
	wantCode(t, err, noSuchObject)
	// A slip of the finger is forgiven, where somebody types a name.
	if r, err := c.Search(sub("(|(cn=*hadad*)(sn=*hadad*))", "mail")); err != nil || mails(r) != "k.haddad karim.haddad" {
		t.Errorf("hadad: %q %v", mails(r), err)
	}
	if r, err := c.Search(sub("(mail=hadad@mss-a.example)", "mail")); err != nil || mails(r) != "" {
		t.Errorf("an address: %q %v", mails(r), err)
	}
}
