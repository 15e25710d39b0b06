package davd

import (
	"net/url"
	"strings"

	"pli/directory/listing"
)

// The places of the tree. They are the same for everybody and name nobody: what is in
// them depends on who asks.
const (
	rootPath      = "/carddav/"
	principalPath = "/carddav/moi/"
	homePath      = "/carddav/livres/"
	bookPath      = "/carddav/livres/etablissement/"
	gatewayPath   = "/carddav/annuaire/"
	cardSuffix    = ".vcf"
)

// kind is what stands at a path.
type kind int

const (
	nothing kind = iota
	root
	principal
	home
	book    // « Mon établissement »
	gateway // « Annuaire »
	card    // of either
)

var kindNames = map[kind]string{nothing: "nothing", root: "root", principal: "principal", home: "home", book: "book", gateway: "gateway", card: "card"}

// resource is a place that is asked of.
type resource struct {
	kind kind
	in   kind // of a card: book or gateway
	key  listing.Key
}

var places = map[string]kind{rootPath: root, principalPath: principal, homePath: home, bookPath: book, gatewayPath: gateway}

var paths = map[kind]string{root: rootPath, principal: principalPath, home: homePath, book: bookPath, gateway: gatewayPath}

// locate finds what stands at a path, with or without its last slash.
func locate(path string) resource {
	if path == "/" {
		return resource{kind: root} // for phones that only know the host
	}
	if k, ok := places[strings.TrimSuffix(path, "/")+"/"]; ok {
		return resource{kind: k}
	}
	for prefix, in := range map[string]kind{bookPath: book, gatewayPath: gateway} {
		name, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		if name, ok = strings.CutSuffix(name, cardSuffix); !ok {
			continue
		}
		if k, err := listing.ParseKey(name); err == nil && name == k.String() {
			return resource{kind: card, in: in, key: k}
		}
	}
	return resource{}
}

// locateHref finds what a client's href names: a path, or a URL whose host does not
// matter.
func locateHref(href string) resource {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil {
		return resource{}
	}
	return locate(u.Path)
}

// pathOf is the path of a card in a book.
func pathOf(in kind, k listing.Key) string {
	prefix := bookPath
	if in == gateway {
		prefix = gatewayPath
	}
	return prefix + k.String() + cardSuffix
}
