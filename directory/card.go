package directory

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"pli/health"
	"pli/internal/id"
	"pli/internal/pg"
	"pli/mail"
	"pli/policy"
)

// Card is how a BAL is shown: « NOM Prénom, profession, structure, ville », in parts.
// A patient's card holds no name: the directory does not know it.
type Card struct {
	BAL            id.BAL
	Address        mail.Address
	Kind           health.BALKind
	State          health.BALState
	Name           string // NOM Prénom, or the display name of a service
	Profession     string // French label of TRE_G15, lower case
	Service        string
	Structure      string
	City           string
	OpenToPatients bool
}

// Line writes the card on one line, its empty parts left out.
func (c Card) Line() string {
	parts := make([]string, 0, 5)
	for _, p := range []string{c.Name, c.Profession, c.Service, c.Structure, c.City} {
		if p != "" && (len(parts) == 0 || parts[len(parts)-1] != p) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// Card makes the card of the BAL.
func (b BAL) Card() Card {
	c := Card{BAL: b.ID, Address: b.Address, Kind: b.Kind, State: b.State, Service: b.Service, OpenToPatients: b.TakesPatients()}
	if b.Kind == health.Patient {
		return c
	}
	if s := b.Structure; s != nil {
		c.Structure, c.City = s.Name, s.City
		if s.TradeName != "" {
			c.Structure = s.TradeName
		}
	}
	if p := b.Person; p != nil && b.Kind == health.PER {
		c.Name = strings.TrimSpace(strings.ToUpper(p.FamilyName) + " " + p.GivenName)
		c.Profession = lowerFirst(health.ProfessionLabel(p.Profession))
		return c
	}
	c.Name = b.DisplayName
	if c.Name == "" {
		c.Name, c.Service = c.Service, ""
	}
	return c
}

// TakesPatients reports whether a patient may write here first: a pharmacy's ORG box, or
// a professional box declared open (mssante.md §6.1, §6.3 rule 1).
func (b BAL) TakesPatients() bool {
	if b.OpenToPatients {
		return b.Kind.Professional()
	}
	if b.Kind != health.ORG || b.Structure == nil {
		return false
	}
	return slices.Contains(policy.PharmacySectors(), b.Structure.Sector)
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToLower(r)) + s[n:]
}

// Card returns the card of a BAL. Errors: fault.NotFound.
func (d *Directory) Card(ctx context.Context, q pg.Querier, b id.BAL) (Card, error) {
	r, err := d.ByID(ctx, q, b)
	if err != nil {
		return Card{}, err
	}
	return r.Card(), nil
}

// Cards returns the cards of several addresses of ours, in one query; those that are not
// found, and patients, are absent.
func (d *Directory) Cards(ctx context.Context, q pg.Querier, as []mail.Address) (map[mail.Address]Card, error) {
	bals, err := d.FindMany(ctx, q, as)
	if err != nil {
		return nil, err
	}
	cards := make(map[mail.Address]Card, len(bals))
	for a, b := range bals {
		if b.Kind.Professional() {
			cards[a] = b.Card()
		}
	}
	return cards, nil
}

const maxOpenToPatients = 200

// OpenToPatients lists the listed, active boxes that a patient may write to first, at
// most 200, by name of structure.
func (d *Directory) OpenToPatients(ctx context.Context, q pg.Querier) ([]Card, error) {
	const op = "directory.OpenToPatients"
	rows, err := q.Query(ctx, findOpenToPatients, policy.PharmacySectors(), maxOpenToPatients)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	bals, err := pgx.CollectRows(rows, scanBAL)
	if err != nil {
		return nil, pg.Error(op, err)
	}
	cards := make([]Card, len(bals))
	for i, b := range bals {
		cards[i] = b.Card()
	}
	return cards, nil
}
