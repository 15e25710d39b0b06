package webd

import "html/template"

// icons are drawn on a 24 × 24 grid with a stroke of the text's colour. They always
// stand beside a word, so they are hidden from assistive technology.
var icons = map[string]string{
	"home":    `<path d="M3 11 12 4l9 7"/><path d="M5.5 9.5V20h13V9.5"/><path d="M10 20v-6h4v6"/>`,
	"mail":    `<rect x="3" y="5" width="18" height="14" rx="2"/><path d="m3.5 7 8.5 6 8.5-6"/>`,
	"folder":  `<path d="M3 6.5A1.5 1.5 0 0 1 4.5 5H9l2.2 2.5h8.3A1.5 1.5 0 0 1 21 9v9.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 18.5z"/>`,
	"eye":     `<path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12z"/><circle cx="12" cy="12" r="3"/>`,
	"clip":    `<path d="m20 11-8.2 8.2a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7l-8.2 8.2a1.7 1.7 0 0 1-2.4-2.4L14.5 7"/>`,
	"cda":     `<path d="M6 3h8l4 4v14H6z"/><path d="M14 3v4h4"/><path d="M9 12h6M9 15h6M9 18h3"/>`,
	"pdf":     `<path d="M6 3h8l4 4v14H6z"/><path d="M14 3v4h4"/><path d="M9 17v-5h1.7a1.5 1.5 0 0 1 0 3H9"/>`,
	"image":   `<rect x="3" y="5" width="18" height="14" rx="2"/><circle cx="8.5" cy="10" r="1.5"/><path d="m4 17 5-4 4 3 3-2 4 3"/>`,
	"text":    `<path d="M6 3h8l4 4v14H6z"/><path d="M14 3v4h4"/><path d="M9 13h6M9 17h4"/>`,
	"archive": `<rect x="3" y="4" width="18" height="5" rx="1"/><path d="M5 9v11h14V9"/><path d="M10 13h4"/>`,
	"other":   `<path d="M6 3h8l4 4v14H6z"/><path d="M14 3v4h4"/>`,
	"check":   `<path d="m4.5 12.5 5 5 10-11"/>`,
	"lock":    `<rect x="5" y="10.5" width="14" height="10" rx="2"/><path d="M8 10.5V8a4 4 0 0 1 8 0v2.5"/>`,
	"alert":   `<path d="M12 3.5 2.5 20h19z"/><path d="M12 10v4.5M12 17.2v.3"/>`,
	"out":     `<path d="M14 4h5v16h-5"/><path d="M4 12h10M10.5 8 14.5 12l-4 4"/>`,
	"help":    `<circle cx="12" cy="12" r="9"/><path d="M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1 1-1.1 1.8v.5M12 17v.3"/>`,
	"down":    `<path d="M12 4v11M7.5 11l4.5 4.5L16.5 11"/><path d="M5 20h14"/>`,
	"send":    `<path d="M4 12 20.5 4 16 20.5l-4.5-6z"/><path d="m11.5 14.5 9-10.5"/>`,
	"back":    `<path d="M20 12H5M10.5 6.5 5 12l5.5 5.5"/>`,
	"find":    `<circle cx="10.5" cy="10.5" r="6.5"/><path d="m15.5 15.5 5 5"/>`,
	"phone":   `<path d="M5 4h4l1.5 5-2 1.5a12 12 0 0 0 5 5l1.5-2 5 1.5v4a1 1 0 0 1-1 1A16 16 0 0 1 4 5a1 1 0 0 1 1-1z"/>`,
}

// icon draws one; an unknown name is a fault that the tests of templates show.
func icon(name string) (template.HTML, error) {
	paths, ok := icons[name]
	if !ok {
		return "", errUnknownIcon(name)
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">` + paths + `</svg>`), nil //nolint:gosec // our own drawings
}

type errUnknownIcon string

func (e errUnknownIcon) Error() string { return "no icon " + string(e) }
