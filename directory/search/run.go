package search

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"pli/directory/listing"
	"pli/fault"
	"pli/internal/id"
	"pli/internal/pg"
)

const (
	// setRows is about how many rows may be looked at and sorted. What is more common
	// is found soon by walking.
	setRows    = 30_000
	walkedRows = 500
	maxArms    = 12
)

// walkSteps are how many listings are walked by at a time; after the last the page ends
// where the walk does.
var walkSteps = []int{2_000, 8_000, 30_000, 60_000}

// walkBeforeSet is after how many steps a large set is looked through instead, when the
// walk met little.
const walkBeforeSet = 1

// columns are those of a listing.Listing, in the order of scan.
var columns = strings.Join(listing.Columns[:slices.Index(listing.Columns, "f_name")], ", ")

// everything is all columns, those that are searched too.
var everything = strings.Join(listing.Columns, ", ")

type hit struct {
	listing listing.Listing
	at      place
}

func scan(row pgx.CollectableRow) (hit, error) {
	var (
		h    hit
		l    = &h.listing
		key  []byte
		bal  *int64
		step int32
	)
	err := row.Scan(&key, &bal, &l.Kind, &l.Address, &l.PPType, &l.PP, &l.PlaceType, &l.Place, &l.Civility, &l.FamilyName,
		&l.GivenName, &l.Category, &l.CategoryLabel, &l.Profession, &l.ProfessionLabel, &l.KnowHow, &l.KnowHowLabel,
		&l.DisplayName, &l.Service, &l.Description, &l.Hours, &l.Structure, &l.TradeName, &l.Sector, &l.Complement, &l.Street,
		&l.PostalCode, &l.City, &l.Department, &l.Country, &l.Paperless, &l.OpenToPatients, &l.Rank, &l.SinceAt, &l.ChangedAt,
		&l.SeenAt, &h.at.sort, &step)
	if err != nil {
		return h, err
	}
	if len(key) != len(l.Key) {
		return h, fault.New(fault.Corrupt, "search.scan", "key")
	}
	copy(l.Key[:], key)
	if bal != nil {
		l.BAL = id.BAL(*bal)
	}
	l.SinceAt, l.ChangedAt, l.SeenAt = l.SinceAt.UTC(), l.ChangedAt.UTC(), l.SeenAt.UTC()
	h.at.key, h.at.rank, h.at.step = l.Key, int32(l.Rank), byte(step)
	return h, nil
}

// search is one question being answered.
type search struct {
	*vocabulary
	where node
	limit int
	hits  []hit
	next  place // set when the walk ended before the page was full
}

// full reports that there is one listing more than the page holds.
func (q *search) full() bool { return len(q.hits) > q.limit }

// run fills q.hits from a place on.
func (q *search) run(from place) error {
	if q.where.shape == never {
		return nil
	}
	arms, rest := armsOf(q.where)
	if len(arms) > 0 && len(arms) <= maxArms && (from.mode == 0 || from.mode == byArms) {
		return q.byArms(arms, rest, from)
	}
	w := q.wayTo(q.where)
	if q.err != nil {
		return q.err
	}
	if from.mode == bySet || from.mode == 0 && len(w) > 0 && w.rows(q.size) <= q.setRows() {
		if len(w) == 0 {
			return fault.New(fault.Conflict, "search.Search", "stale-page")
		}
		return q.bySet(w, nil, bySet, hintsOf(q.where).tier, from)
	}
	if from.mode == byArms {
		return invalid("page")
	}
	return q.byWalk(w, nil, byWalk, from)
}

// arm is a run of an index, each row of which answers the question.
type arm struct {
	column string
	value  string
	whole  bool // the value, not what begins by it
}

func (a arm) sql(s *statement) string {
	if a.whole {
		return "(" + a.column + " = " + s.text(a.value) + ")"
	}
	return "(" + a.column + " >= " + s.text(a.value) + " AND " + a.column + " < " + s.text(after(a.value)) + ")"
}

func (a arm) weight() int {
	n := slices.Index([]string{"f_name", "f_given", "f_address"}, a.column)
	if !a.whole {
		n += 3
	}
	return n
}

// armsOf gives the arms of a condition, in the order of preference, and the part of it of
// which they do not find all.
func armsOf(n node) (arms []arm, rest node) {
	kids := []node{n}
	if n.shape == either {
		kids = n.kids
	}
	var left []node
	for _, k := range kids {
		if k.shape != test {
			left = append(left, k)
			continue
		}
		as, complete := k.leaf.arms()
		if !complete {
			left = append(left, k)
		}
		for _, a := range as {
			if !slices.Contains(arms, a) {
				arms = append(arms, a)
			}
		}
	}
	slices.SortStableFunc(arms, func(a, b arm) int { return a.weight() - b.weight() })
	return arms, join(either, left)
}

// arms of a leaf hold nothing but its answers, and all of them when complete.
func (l leaf) arms() (arms []arm, complete bool) {
	one := !strings.Contains(l.value, " ") // its end is within a word
	add := func(columns ...string) {
		for _, c := range columns {
			arms = append(arms, arm{c, l.value, l.act == equal})
		}
	}
	switch {
	case l.act == present, l.act == equal && l.field != Name && l.field != Address:
	case l.field == Name && (l.act != word || one):
		add("f_name", "f_given")
	case l.field == Any:
		add("f_name", "f_given", "f_address")
	case l.field == Address && l.act == word:
	case l.field == Address:
		add("f_address")
	case l.field == Family && (l.act == prefix || one):
		add("f_name")
	case l.field == Given && (l.act == prefix || one):
		add("f_given")
	}
	return arms, len(arms) > 0 && (l.act == prefix || l.act == equal)
}

// setRows is less when names can be walked that are known to begin so.
func (q *search) setRows() float64 {
	if lo, hi := nameRange(q.where); hi != "" && len(lo) >= 3 {
		return walkedRows
	}
	return setRows
}

func (q *search) byArms(arms []arm, rest node, from place) error {
	if int(from.step) > len(arms) {
		return invalid("page")
	}
	for i := int(from.step); i < len(arms) && !q.full(); i++ {
		if err := q.byArm(arms, i, from); err != nil {
			return err
		}
		from = place{}
	}
	if rest.shape == never || q.full() {
		return nil
	}
	q.where = rest
	if int(from.step) < len(arms) {
		from = place{}
	}
	w := q.wayTo(q.where)
	if q.err != nil {
		return q.err
	}
	if len(w) > 0 && w.rows(q.size) <= setRows {
		return q.bySet(w, arms, byArms, step(len(arms)), from)
	}
	return q.byWalk(w, arms, byArms, from)
}

// byArm adds what one arm gives and those before it do not.
func (q *search) byArm(arms []arm, i int, from place) error {
	var s statement
	a := arms[i]
	cond := a.sql(&s) + without(&s, arms[:i])
	if a.column == "f_given" {
		cond += " AND f_given <> ''"
	}
	cond += s.after(a.column, from)
	return q.add(byArms, &s, "SELECT "+columns+", "+a.column+", "+strconv.Itoa(i)+" FROM "+q.ofParts(everything, "listing")+" l WHERE "+cond+
		" ORDER BY "+a.column+", rank, key LIMIT "+strconv.Itoa(q.limit+1-len(q.hits)))
}

func without(s *statement, arms []arm) string {
	sql := ""
	for _, a := range arms {
		sql += " AND NOT " + a.sql(s)
	}
	return sql
}

func (s *statement) after(column string, p place) string {
	if p.mode == 0 {
		return ""
	}
	return " AND (" + column + ", rank, key) > (" + s.text(p.sort) + ", " + s.any(p.rank, "int") + ", " + s.any(p.key[:], "bytea") + ")"
}

// step is a tier that is the same for all.
func step(n int) func(*statement) string {
	return func(*statement) string { return strconv.Itoa(n) }
}

// bySet adds what is in a set of rows and in no arm, sorted by tier and name.
func (q *search) bySet(w way, arms []arm, mode byte, tiers func(*statement) string, from place) error {
	var s statement
	tier := tiers(&s)
	cond := w.sql(&s) + " AND " + s.predicate(q.where) + without(&s, arms)
	if from.mode != 0 {
		cond += " AND (" + tier + ", f_name || '', rank, key) > (" + s.any(int32(from.step), "int") + ", " + s.text(from.sort) + ", " +
			s.any(from.rank, "int") + ", " + s.any(from.key[:], "bytea") + ")"
	}
	// No index has this order: the set decides how rows are found.
	return q.add(mode, &s, "SELECT "+columns+", f_name, "+tier+" FROM "+q.ofParts(everything, "listing")+" l WHERE "+cond+
		" ORDER BY "+tier+" + 0, f_name || '', rank, key LIMIT "+strconv.Itoa(q.limit+1-len(q.hits)))
}

// byWalk adds what it meets in the order of names, but for what the arms gave. When
// that takes long it goes by the set, if there is one, and else stops: the page ends
// where the walk does.
func (q *search) byWalk(w way, arms []arm, mode byte, from place) error {
	lo, hi := nameRange(q.where)
	before := len(q.hits)
	for i, n := range walkSteps {
		if i == walkBeforeSet && 5*(len(q.hits)-before) < q.limit {
			if len(w) == 0 {
				q.deep = true
				if w = q.wayTo(q.where); q.err != nil {
					return q.err
				}
			}
			if len(w) > 0 && w.rows(q.size) <= widePart {
				return q.bySet(w, arms, mode, step(len(arms)), from)
			}
		}
		var s statement
		bounds := "true" + s.after("f_name", from)
		if hi != "" {
			bounds += " AND f_name >= " + s.text(lo) + " AND f_name < " + s.text(hi)
		}
		const order = " ORDER BY f_name, rank, key"
		end, args := "SELECT f_name, rank, key FROM "+q.ofParts("f_name, rank, key", "listing")+" l WHERE "+bounds+order+
			" OFFSET "+strconv.Itoa(n-1)+" LIMIT 1", slices.Clone(s.args)
		err := q.add(mode, &s, "SELECT "+columns+", f_name, "+strconv.Itoa(len(arms))+" FROM (SELECT "+everything+" FROM "+
			q.ofParts(everything, "listing")+" l WHERE "+bounds+order+" LIMIT "+strconv.Itoa(n)+") l WHERE "+s.predicate(q.where)+without(&s, arms)+order+
			" LIMIT "+strconv.Itoa(q.limit+1-len(q.hits)))
		if err != nil || q.full() {
			return err
		}
		last, err := q.walkEnd(end, args)
		if err != nil || last.mode == 0 {
			return err
		}
		last.mode, last.step = mode, byte(len(arms))
		from = last
	}
	q.next = from
	return nil
}

// walkEnd tells where a walk of so many listings ends; no place when they end before.
func (q *search) walkEnd(sql string, args []any) (place, error) {
	last := place{mode: byWalk}
	var key []byte
	err := q.db.QueryRow(q.ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&last.sort, &last.rank, &key)
	if errors.Is(err, pgx.ErrNoRows) {
		return place{}, nil
	}
	copy(last.key[:], key)
	return last, err
}

// nameRange narrows the names to walk by: all listings that answer have f_name in it.
func nameRange(n node) (lo, hi string) {
	switch {
	case n.shape == test && n.leaf.field == Family && n.leaf.act == equal:
		return n.leaf.value, n.leaf.value + "!" // what follows is a space
	case n.shape == test && n.leaf.field == Family && n.leaf.act == prefix:
		return n.leaf.value, after(n.leaf.value)
	case n.shape == both:
		for _, k := range n.kids {
			if lo, hi = nameRange(k); hi != "" {
				return lo, hi
			}
		}
	}
	return "", ""
}

func (q *search) add(mode byte, s *statement, sql string) error {
	// Each question has a statement of its own shape: none is kept by the server.
	rows, err := q.db.Query(q.ctx, sql, append([]any{pgx.QueryExecModeExec}, s.args...)...)
	if err != nil {
		return err
	}
	hits, err := pgx.CollectRows(rows, scan)
	for _, h := range hits {
		h.at.mode = mode
		if !slices.ContainsFunc(q.hits, func(o hit) bool { return o.at.key == h.at.key }) {
			q.hits = append(q.hits, h)
		}
	}
	return err
}

// hints are what was said of names: listings whose name it is come first.
type hints struct{ names, beginnings []string }

const maxHints = 24

func hintsOf(n node) hints {
	var h hints
	add := func(to *[]string, v string) {
		if v != "" && len(*to) < maxHints && !slices.Contains(*to, v) {
			*to = append(*to, v)
		}
	}
	n.positive(func(l leaf) {
		if l.field > Address || l.act == present { // Any, Name, Family, Given, Address
			return
		}
		if l.act == word {
			add(&h.names, l.whole)
			add(&h.beginnings, l.whole)
		} else {
			add(&h.names, l.value)
		}
		add(&h.beginnings, l.value)
	})
	return h
}

// tier writes how well a listing's name matches: 0 best.
func (h hints) tier(s *statement) string {
	if len(h.names) == 0 {
		return "0"
	}
	names, beginnings := s.any(h.names, "text[]"), s.any(h.beginnings, "text[]")
	return "(CASE WHEN f_name = ANY (" + names + ") OR f_given = ANY (" + names + ") THEN 0 WHEN f_name ^@ ANY (" + beginnings +
		") THEN 1 WHEN f_given ^@ ANY (" + beginnings + ") THEN 2 WHEN f_address ^@ ANY (" + beginnings + ") THEN 3 ELSE 4 END)"
}

// page makes the page of what was found.
func (q *search) page(round byte) Page {
	p := Page{Fuzzy: round > 0}
	hits := q.hits
	if q.full() {
		hits = hits[:q.limit]
		q.next = hits[q.limit-1].at
	}
	for _, h := range hits {
		p.Listings = append(p.Listings, h.listing)
	}
	preferredFirst(p.Listings)
	q.next.round = round
	p.Next = q.next.String()
	return p
}

// preferredFirst puts the listings of one holder in the order of rank, in the places that
// they have.
func preferredFirst(ls []listing.Listing) {
	of := map[string][]int{}
	for i, l := range ls {
		if l.PP != "" {
			of[l.PPType+l.PP] = append(of[l.PPType+l.PP], i)
		}
	}
	for _, at := range of {
		his := make([]listing.Listing, len(at))
		for i, n := range at {
			his[i] = ls[n]
		}
		slices.SortStableFunc(his, func(a, b listing.Listing) int { return a.Rank - b.Rank })
		for i, n := range at {
			ls[n] = his[i]
		}
	}
}

const (
	defaultLimit = 100
	maxLimit     = 1_000
)

// Search answers a question. Errors: fault.Invalid for a condition that cannot be asked
// or a page that is not ours, fault.Conflict ("stale-page") for one that the renewal of
// the directory has overtaken, fault.Timeout when it takes too long.
func (s *Searcher) Search(ctx context.Context, q Query) (Page, error) {
	const op = "search.Search"
	where, err := normalise(q.Where)
	if err != nil {
		return Page{}, err
	}
	from, err := parsePlace(q.After)
	if err != nil {
		return Page{}, err
	}
	e, err := s.edition(ctx)
	if err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	v := s.vocabulary(ctx, e)
	last := from.round
	if q.Fuzzy && q.After == "" {
		last = maxRounds
	}
	for round := from.round; ; round++ {
		asked, changed := where, true
		if round > 0 {
			if asked, changed, err = v.respell(where, round); err != nil {
				return Page{}, pg.Error(op, err)
			}
		}
		one := search{vocabulary: v, where: asked, limit: min(q.Limit, maxLimit)}
		if changed {
			if err := one.run(from); err != nil {
				return Page{}, pg.Error(op, err)
			}
		}
		if len(one.hits) > 0 || round >= last || one.next.mode != 0 {
			return one.page(round), nil
		}
	}
}

// ByKey returns one listing. Errors: fault.NotFound.
func (s *Searcher) ByKey(ctx context.Context, k listing.Key) (listing.Listing, error) {
	p, err := s.Search(ctx, Query{Where: Equal{Key, k.String()}, Limit: 1})
	if err == nil && len(p.Listings) == 0 {
		err = fault.New(fault.NotFound, "search.ByKey", "unknown-listing")
	}
	if err != nil {
		return listing.Listing{}, err
	}
	return p.Listings[0], nil
}
