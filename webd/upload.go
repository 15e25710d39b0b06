package webd

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"pli/fault"
)

// limits of a reply beside Config.UploadSize.
const (
	replyTextSize = 100 << 10 // octets; 20,000 characters and more
	maxFiles      = 20
)

// upload is one file of a reply, held sealed.
type upload struct {
	Name      string
	MediaType string
	Spool     Spool
}

// draft is a reply being sent.
type draft struct {
	Text      string
	Confirmed bool // the person said that no file is missing
	Files     []upload
	Faults    []fieldFault
}

func (d *draft) close() {
	for _, f := range d.Files {
		f.Spool.Close() //nolint:errcheck // a temporary file
	}
}

// accepted lists the extensions a person may send and the type each must have
// (ux.md §7.4).
var accepted = map[string]string{
	".pdf": "application/pdf", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png",
	".heic": "image/heic", ".heif": "image/heic", ".tif": "image/tiff", ".tiff": "image/tiff",
	".txt": "text/plain", ".rtf": "application/rtf",
}

// acceptList is the accept attribute of the file field.
const acceptList = ".pdf,.jpg,.jpeg,.png,.heic,.heif,.tif,.tiff,.txt,.rtf"

// sniff tells the type of a file from its first bytes; "" when it is none of ours.
func sniff(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("%PDF-")):
		return "application/pdf"
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(b, []byte("II*\x00")), bytes.HasPrefix(b, []byte("MM\x00*")):
		return "image/tiff"
	case bytes.HasPrefix(b, []byte("{\\rtf")):
		return "application/rtf"
	case len(b) > 12 && string(b[4:8]) == "ftyp" && strings.Contains("heic heix mif1 msf1 hevc", string(b[8:12])):
		return "image/heic"
	case len(b) > 0 && looksText(b):
		return "text/plain"
	}
	return ""
}

// looksText accepts UTF-8 and the old Western charsets, no control characters.
func looksText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' || c == 0x7f {
			return false
		}
	}
	return !bytes.HasPrefix(bytes.ToLower(bytes.TrimSpace(b)), []byte("<"))
}

// readDraft reads the form of a reply as it comes: files go sealed to disk and nowhere
// else. What is wrong with the form is told in Faults; an error is a broken request.
func (s *Server) readDraft(w http.ResponseWriter, r *http.Request) (*draft, error) {
	const op = "webd.readDraft"
	// Beyond twice the limit the connection is cut; below it, the person is told.
	r.Body = http.MaxBytesReader(w, r.Body, 2*s.Config.UploadSize+(1<<20))
	mr, err := r.MultipartReader()
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, op, "not-multipart", err)
	}
	d := &draft{}
	left := s.Config.UploadSize
	for {
		p, err := mr.NextPart()
		if err == io.EOF { //nolint:errorlint // NextPart's own
			return d, nil
		}
		if err == nil {
			err = s.readField(d, p, &left)
		}
		if err != nil {
			d.close()
			return nil, fault.Wrap(kindOfBody(err), op, "body", err)
		}
	}
}

// kindOfBody tells a body that is too long from one that was cut.
func kindOfBody(err error) fault.Kind {
	if strings.Contains(err.Error(), "request body too large") {
		return fault.TooLarge
	}
	if k := fault.KindOf(err); k != fault.Internal {
		return k
	}
	return fault.Invalid
}

// firstText reads the text of the form of a reply and nothing else of it.
func firstText(w http.ResponseWriter, r *http.Request) string {
	r.Body = http.MaxBytesReader(w, r.Body, replyTextSize+bodySize)
	mr, err := r.MultipartReader()
	if err != nil {
		return ""
	}
	for {
		p, err := mr.NextPart()
		if err != nil || p.FileName() != "" {
			return ""
		}
		if p.FormName() == "texte" {
			b, err := io.ReadAll(io.LimitReader(p, replyTextSize))
			if err != nil {
				return ""
			}
			return strings.ToValidUTF8(string(b), "")
		}
	}
}

func (s *Server) readField(d *draft, p *multipart.Part, left *int64) error {
	defer p.Close()
	switch p.FormName() {
	case "texte", "confirme":
		b, err := io.ReadAll(io.LimitReader(p, replyTextSize+1))
		if err != nil {
			return err
		}
		if p.FormName() == "confirme" {
			d.Confirmed = string(b) == "oui"
			return nil
		}
		if len(b) > replyTextSize {
			d.Faults = append(d.Faults, fieldFault{Field: "texte", Key: "reply.text.long"})
			b = b[:replyTextSize]
		}
		d.Text = strings.ToValidUTF8(string(b), "")
	case "fichiers":
		return s.readFile(d, p, left)
	}
	return nil
}

// readFile takes one file, or says why not and reads past it.
func (s *Server) readFile(d *draft, p *multipart.Part, left *int64) error {
	name := fileName(p.FileName())
	if name == "" {
		_, err := io.Copy(io.Discard, p)
		return err
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(p, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own
		return err
	}
	head = head[:n]
	mt := accepted[strings.ToLower(path.Ext(name))]
	switch {
	case n == 0:
		d.refuse("upload.empty", name)
	case mt == "" || sniff(head) != mt:
		d.refuse("upload.type", name)
	case len(d.Files) == maxFiles:
		d.refuse("upload.many", name)
	default:
		return s.takeFile(d, io.MultiReader(bytes.NewReader(head), p), name, mt, left)
	}
	_, err = io.Copy(io.Discard, p)
	return err
}

func (s *Server) takeFile(d *draft, r io.Reader, name, mt string, left *int64) error {
	sp, err := s.spool(io.LimitReader(r, *left+1))
	if err != nil {
		return err
	}
	if sp.Size() > *left {
		sp.Close() //nolint:errcheck // a temporary file
		rest, err := io.Copy(io.Discard, r)
		d.Faults = append(d.Faults, fieldFault{Field: "fichiers", Key: "upload.large", Name: name, Size: *left + 1 + rest})
		return err
	}
	*left -= sp.Size()
	d.Files = append(d.Files, upload{Name: name, MediaType: mt, Spool: sp})
	return nil
}

func (d *draft) refuse(key, name string) {
	d.Faults = append(d.Faults, fieldFault{Field: "fichiers", Key: key, Name: name})
}

// fileName is the last element of what the browser gave, without what could trouble a
// header or a screen, of 120 characters at most.
func fileName(s string) string {
	s = path.Base(strings.ReplaceAll(s, `\`, "/"))
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s)
	if s == "." || s == "/" {
		return ""
	}
	if rs := []rune(s); len(rs) > 120 {
		ext := path.Ext(s)
		if len(ext) > 10 {
			ext = ""
		}
		s = string(rs[:120-len(ext)]) + ext
	}
	return s
}
