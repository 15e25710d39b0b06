package search

import (
	"context"
	"errors"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"pli/internal/pg"
)

const (
	selectPart = `SELECT part, edition FROM national_part`

	// Which words are common, as PostgreSQL saw when the part was made; without it
	// every word is taken for rare, and answers only take longer.
	selectCommon = `
SELECT coalesce(c.reltuples, 0)::float8, coalesce(s.most_common_elems::text::text[], '{}'),
       coalesce(s.most_common_elem_freqs, '{}')::float8[]
FROM pg_class c LEFT JOIN pg_stats s ON s.schemaname = c.relnamespace::regnamespace::text
     AND s.tablename = c.relname AND s.attname = 'words'
WHERE c.oid = to_regclass($1)`
)

const (
	partFor   = time.Second     // how long what national_part says is taken for true
	commonFor = 5 * time.Minute // how long the common words are
)

// edition is one state of the national part: what a search reads from beginning to end.
type edition struct {
	part   string
	number int64
	size   float64 // rows
	common []commonWord
}

type commonWord struct {
	word string
	rows float64
}

type editions struct {
	mu       sync.Mutex
	now      edition
	readAt   time.Time
	commonAt time.Time
}

// edition tells which part is read now.
func (s *Searcher) edition(ctx context.Context) (edition, error) {
	const op = "search.edition"
	e := &s.editions
	e.mu.Lock()
	now, readAt, commonAt := e.now, e.readAt, e.commonAt
	e.mu.Unlock()
	if time.Since(readAt) < partFor {
		return now, nil
	}
	fresh := edition{}
	at := time.Now()
	if err := s.db.QueryRow(ctx, selectPart).Scan(&fresh.part, &fresh.number); err != nil {
		return edition{}, pg.Error(op, err)
	}
	if fresh.part == now.part && fresh.number == now.number && time.Since(commonAt) < commonFor {
		fresh.size, fresh.common = now.size, now.common
	} else {
		commonAt = at
		if err := s.readCommon(ctx, &fresh); err != nil {
			return edition{}, pg.Error(op, err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now, e.readAt, e.commonAt = fresh, at, commonAt
	return fresh, nil
}

func (s *Searcher) readCommon(ctx context.Context, e *edition) error {
	var words []string
	var shares []float64 // of rows; PostgreSQL adds a few figures of its own at the end
	err := s.db.QueryRow(ctx, selectCommon, "listing_"+e.part).Scan(&e.size, &words, &shares)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	e.size = max(e.size, 1)
	for i, w := range words {
		if i < len(shares) {
			e.common = append(e.common, commonWord{w, shares[i] * e.size})
		}
	}
	return nil
}

// vocabulary knows the words of one edition, for one search.
type vocabulary struct {
	edition
	ctx   context.Context
	db    *pg.DB
	holed map[string]stems // by text
	deep  bool             // look for texts of one or two letters too
	err   error            // the first one

	near      map[string][]string // by word, its other spellings of that round
	nearRound byte
}

func (s *Searcher) vocabulary(ctx context.Context, e edition) *vocabulary {
	return &vocabulary{edition: e, ctx: ctx, db: s.db, holed: map[string]stems{}}
}

// frequent guesses in how many rows a word is found that some test holds for: the common
// ones are known, the rest is rare rows in a million.
func (v *vocabulary) frequent(is func(word string) bool, rare float64) float64 {
	rows := rare * v.size / 1_000_000
	for _, c := range v.common {
		if is(c.word) {
			rows += c.rows
		}
	}
	return rows
}

// ofParts writes a SELECT on the house's own part of a table and on the national one.
func (e edition) ofParts(columns, table string) string {
	return "(SELECT " + columns + " FROM " + table + "_own UNION ALL SELECT " + columns + " FROM " + table + "_" + e.part + ")"
}

const (
	manyWords = 5_000 // of the vocabulary, that contain a text
	manyStems = 250   // different beginnings that end with it
)

// stems is how words of the vocabulary begin that contain a text, up to its end: few, for
// most such words differ in what follows.
type stems struct {
	begin []string
	words int
	all   bool // there are no more
}

// containing looks for words that contain a text.
func (v *vocabulary) containing(t string) stems {
	found, ok := v.holed[t]
	if ok || v.err != nil {
		return found
	}
	rows, err := v.db.Query(v.ctx, "SELECT left(word, strpos(word, $1::text) + $2::int - 1), count(*) FROM (SELECT word FROM "+v.ofParts("word", "word")+
		" w WHERE word LIKE '%' || $1::text || '%' LIMIT $3::int) w GROUP BY 1 LIMIT $4::int",
		pgx.QueryExecModeExec, t, utf8.RuneCountInString(t), manyWords, manyStems+1)
	if err == nil {
		_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
			var stem string
			var words int
			err = row.Scan(&stem, &words)
			found.begin, found.words = append(found.begin, stem), found.words+words
			return struct{}{}, err
		})
	}
	found.all = err == nil && len(found.begin) <= manyStems && found.words < manyWords
	v.err, v.holed[t] = err, found
	return found
}
