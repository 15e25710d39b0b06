package ldapd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"
)

// cookieLife is how long the rest of a paged search can be asked for.
const cookieLife = 15 * time.Minute

// paging is a search in pages (RFC 2696). Nothing of it is kept here: what the next page
// needs is sealed in the cookie, for this account and this very search.
type paging struct {
	size  int64
	given int64  // entries of the pages before
	after string // where the next begins
	sum   []byte // of the search
}

func (a *asker) readPaging(c control, op []byte) (*paging, result, error) {
	tag, seq, rest, ok := element(c.value)
	if !ok || tag != 0x30 || len(rest) > 0 {
		return nil, result{}, errMalformed
	}
	tag, n, seq, ok := element(seq)
	if !ok || tag != 0x02 || len(n) == 0 || len(n) > 5 || n[0] >= 0x80 {
		return nil, result{}, errMalformed
	}
	p := &paging{}
	for _, b := range n {
		p.size = p.size<<8 | int64(b)
	}
	tag, cookie, rest, ok := element(seq)
	if !ok || tag != 0x04 || len(rest) > 0 {
		return nil, result{}, errMalformed
	}
	sum := sha256.Sum256(op)
	p.sum = sum[:16]
	if len(cookie) == 0 {
		return p, result{}, nil
	}
	v, err := a.s.d.Tickets.Open(string(cookie), a.bearer(), a.s.d.Now())
	if err != nil || len(v) < 24 || !bytes.Equal(v[:16], p.sum) {
		return nil, result{code: unwillingToPerform, text: textCookie}, nil
	}
	p.given, p.after = int64(binary.BigEndian.Uint64(v[16:24])), string(v[24:])
	return p, result{}, nil
}

// seal makes the cookie of the next page.
func (a *asker) seal(after string, given int64) string {
	v := append([]byte(nil), a.page.sum...)
	v = binary.BigEndian.AppendUint64(v, uint64(given))
	return a.s.d.Tickets.Seal(append(v, after...), a.bearer(), a.s.d.Now().Add(cookieLife))
}

func (a *asker) bearer() string {
	return "ldap " + strconv.FormatInt(int64(a.who.Account), 10) + " " + strconv.FormatInt(int64(a.who.BAL), 10)
}

// response is the control that goes with the last message of a page. How many entries
// there are in all is not said.
func (p *paging) response(cookie string) []byte {
	v, seq := begin(nil, 0x30)
	v = appendNumber(v, 0x02, 0)
	v = appendString(v, 0x04, cookie)
	end(v, seq)
	b, one := begin(nil, 0x30)
	b = appendString(b, 0x04, oidPaged)
	b = appendString(b, 0x04, v)
	end(b, one)
	return b
}
