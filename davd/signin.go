package davd

import (
	"context"

	"pli/directory/listing"
	"pli/directory/search"
	"pli/identity"
)

// open asks the gate for who was proven; it decides and traces.
func (s *Server) open(ctx context.Context, who identity.SignIn) error {
	return s.d.Reader.OpenDirectory(ctx, who, doorName)
}

// asked tells a sign-in.
func (s *Server) asked(means string, who identity.SignIn, err error) {
	if err == nil {
		s.d.Log.Info("carddav sign-in", "account", who.Account, "bal", who.BAL, "means", means)
	}
}

// search asks the directory once others of the account leave room.
func (a *asker) search(q search.Query) (p search.Page, err error) {
	leave, err := a.d.Turns.Take(a.ctx, a.who.Account)
	if err != nil {
		return p, err
	}
	defer leave()
	return a.d.Search.Search(a.ctx, q)
}

// byKey is search for one listing.
func (a *asker) byKey(k listing.Key) (l listing.Listing, err error) {
	leave, err := a.d.Turns.Take(a.ctx, a.who.Account)
	if err != nil {
		return l, err
	}
	defer leave()
	return a.d.Search.ByKey(a.ctx, k)
}
