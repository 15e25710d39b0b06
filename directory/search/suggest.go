package search

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
	"pli/health"
	"pli/internal/pg"
	"pli/mail"
)

const (
	maxSuggestions = 3
	maxSuggested   = 200 // rows looked at, of each sort
	nationalOnes   = "patient.mssante.fr"
	commonPart     = 5_000 // rows: a name as common as this tells nobody from another
)

// What the house and the directory know of an address: a BAL of ours, whatever its
// state; an address that was published and is no more; one that is published.
const selectKnown = `
SELECT 'bal', b.state, b.kind, coalesce(p.rpps, ''), array_remove(ARRAY[s.finess, s.siret], NULL), b.service, b.replacement, b.unlisted
FROM bal b LEFT JOIN person p ON p.id = b.person_id LEFT JOIN structure s ON s.id = b.structure_id
WHERE b.address = $1 AND b.kind <> 'PATIENT'
UNION ALL (SELECT 'departed', '', kind, pp, ARRAY[place], service, '', false FROM departed WHERE address = $1 ORDER BY gone_at DESC LIMIT 20)
UNION ALL (SELECT 'listed', '', kind, pp, ARRAY[place], service, '', false FROM {listing} l WHERE f_address = $1 LIMIT 20)`

type known struct {
	from, state, kind, pp string
	places                []string
	service, replacement  string
	unlisted              bool
}

// clues are what tells who or what an address was.
type clues struct {
	replacement string
	pps, places []string
	services    []string // folded, of the places
}

// Suggest returns at most three present addresses in place of one that is unknown,
// closed or gone, the surest first: the one that its structure named, those of the same
// professional, those of the same service. For an address that nobody ever knew, those
// of its domain that are spelt nearly so. There is nothing for a BAL of ours that is in
// use, and nothing for a patient's.
func (s *Searcher) Suggest(ctx context.Context, a mail.Address) ([]Suggestion, error) {
	const op = "search.Suggest"
	if a.IsZero() || a.Domain() == nationalOnes || s.domains.ForPatients(a.Domain()) {
		return nil, nil
	}
	e, err := s.edition(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.Query(ctx, strings.Replace(selectKnown, "{listing}", e.ofParts("kind, pp, place, service, f_address", "listing"), 1), a.Reveal())
	if err != nil {
		return nil, pg.Error(op, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k known, err error) {
		err = row.Scan(&k.from, &k.state, &k.kind, &k.pp, &k.places, &k.service, &k.replacement, &k.unlisted)
		return k, err
	})
	if err != nil {
		return nil, pg.Error(op, err)
	}
	c, ok := cluesOf(found)
	if !ok {
		return nil, nil
	}
	v := s.vocabulary(ctx, e)
	out, err := s.suggest(v, a, c, len(found) == 0)
	return out, pg.Error(op, err)
}

// cluesOf gathers the clues; false for a BAL in use. Of one on the liste rouge, only what
// its structure says is told. What was published of an address that is ours now does not
// count.
func cluesOf(found []known) (clues, bool) {
	var c clues
	ours := slices.ContainsFunc(found, func(k known) bool { return k.from == "bal" })
	for _, k := range found {
		if ours && k.from != "bal" {
			continue
		}
		switch health.BALState(k.state) {
		case health.Active, health.Pending:
			return clues{}, false
		}
		if k.replacement != "" {
			c.replacement = listing.FoldAddress(k.replacement)
		}
		if k.unlisted {
			continue
		}
		if k.pp != "" && k.kind != string(health.ORG) {
			c.pps = append(c.pps, k.pp)
		}
		service := listing.Fold(k.service)
		for _, p := range k.places {
			if k.kind == string(health.ORG) && p != "" && k.state != string(health.Purged) {
				c.places, c.services = append(c.places, p), append(c.services, service)
			}
		}
	}
	return c, true
}

// suggested are the listings worth showing: published, and in use when they are ours.
func (s *statement) suggested(e edition, why, cond string) string {
	return "(SELECT " + columns + ", '" + why + "', 0 FROM " + e.ofParts(everything, "listing") + " l WHERE " + cond +
		" AND (bal_id IS NULL OR EXISTS (SELECT 1 FROM bal b WHERE b.id = l.bal_id AND b.state = 'active' AND NOT b.unlisted)) LIMIT " +
		strconv.Itoa(maxSuggested) + ")"
}

func (s *Searcher) suggest(v *vocabulary, a mail.Address, c clues, unknown bool) ([]Suggestion, error) {
	var st statement
	var parts []string
	add := func(why, cond string) { parts = append(parts, st.suggested(v.edition, why, cond)) }
	if c.replacement != "" {
		add("replacement", "f_address = "+st.text(c.replacement))
	}
	if len(c.pps) > 0 {
		add("same-professional", "pp = ANY ("+st.any(c.pps, "text[]")+") AND pp <> ''")
	}
	if len(c.places) > 0 {
		add("same-structure", "place = ANY ("+st.any(c.places, "text[]")+") AND place <> '' AND kind = 'ORG' AND "+
			folded("service")+" = ANY ("+st.any(c.services, "text[]")+")")
	}
	if unknown {
		add("near", "f_address = ANY ("+st.any(neighbours(a), "text[]")+")")
		if names := v.tellingNames(a.Local()); len(names) > 0 {
			add("near", "words @@ ANY ("+st.any(names, "tsquery[]")+") AND right(f_address, "+st.any(int32(len(a.Domain())+1), "int")+") = "+st.text("@"+a.Domain()))
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	q := search{vocabulary: v, limit: 4 * maxSuggested}
	if err := q.add(byArms, &st, strings.Join(parts, " UNION ALL ")); err != nil {
		return nil, err
	}
	return s.surest(q.hits, a, c), nil
}

// surest keeps at most three addresses, each once.
func (s *Searcher) surest(hits []hit, a mail.Address, c clues) []Suggestion {
	reasons := []string{"replacement", "same-professional", "same-structure", "near"}
	rank := func(h hit) int {
		n := 100 * slices.Index(reasons, h.at.sort)
		switch {
		case h.at.sort == "near":
			n += 10 * nearness(a.Local(), local(h.listing.Address))
		case !slices.Contains(c.places, h.listing.Place):
			n += 10
		}
		return n + min(h.listing.Rank, 9)
	}
	slices.SortFunc(hits, func(x, y hit) int {
		if d := rank(x) - rank(y); d != 0 {
			return d
		}
		return strings.Compare(x.listing.Address, y.listing.Address)
	})
	var out []Suggestion
	for _, h := range hits {
		l := h.listing
		_, domain, _ := strings.Cut(l.Address, "@")
		switch {
		case len(out) == maxSuggestions, listing.FoldAddress(l.Address) == a.Reveal(), domain == nationalOnes, s.domains.ForPatients(domain):
			continue
		case h.at.sort == "near" && nearness(a.Local(), local(l.Address)) > 2:
			continue
		case slices.ContainsFunc(out, func(o Suggestion) bool { return o.Listing.Address == l.Address }):
			continue
		}
		out = append(out, Suggestion{Listing: l, Why: h.at.sort})
	}
	return out
}

func local(address string) string {
	l, _, _ := strings.Cut(listing.FoldAddress(address), "@")
	return l
}

// nearness is the distance of two local parts, 0 when they are the same two parts the
// other way round.
func nearness(a, b string) int {
	if swapped(a) == b {
		return 0
	}
	if d := len(a) - len(b); d < -2 || d > 2 {
		return 3
	}
	return distance(a, b)
}

// swapped is « dupont.jean » for « jean.dupont »; "" when there are not two parts.
func swapped(local string) string {
	x, y, ok := strings.Cut(local, ".")
	if !ok || x == "" || y == "" || strings.Contains(y, ".") {
		return ""
	}
	return y + "." + x
}

// neighbours are the addresses of the same domain at one letter's distance, and with the
// parts swapped.
func neighbours(a mail.Address) []string {
	l := a.Local()
	out := variantsOf(l, "abcdefghijklmnopqrstuvwxyz0123456789.-_")
	if s := swapped(l); s != "" {
		out = append(out, s)
	}
	for i := range out {
		out[i] += "@" + a.Domain()
	}
	return out
}

// tellingNames are the parts of a local part that few bear, but for their last letter,
// each as a tsquery.
func (v *vocabulary) tellingNames(local string) []string {
	var out []string
	for _, w := range listing.WordsOf(local) {
		if len(w) < shortest {
			continue
		}
		w = w[:max(shortest, len(w)-1)]
		if len(out) < 4 && v.begins(w).rows <= commonPart {
			out = append(out, query(w, true, ""))
		}
	}
	return out
}
