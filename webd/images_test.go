package webd

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"pli/codec/message"
)

// manyImages is a letterbox whose parts are all one image, counted when read.
type manyImages struct {
	Letters
	content []byte
	read    int
}

func (m *manyImages) Part(context.Context, Letter, []int) (io.ReadCloser, *message.Part, error) {
	m.read++
	return io.NopCloser(bytes.NewReader(m.content)), nil, nil
}

// A body that named one image of 1 MB a hundred thousand times made a page of 100 GB.
func TestOneImageShownManyTimes(t *testing.T) {
	raw := "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n" +
		"--b\r\nContent-Type: image/png\r\nContent-ID: <logo>\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
	o, err := message.Scan(strings.NewReader(raw), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	box := &manyImages{content: append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, imageSize-8)...)}
	clean, err := cleanMail(strings.NewReader(strings.Repeat(`<img src="cid:logo" alt="L">`, 100)+`<img src="cid:autre">`),
		images(t.Context(), box, item{Letter: Letter{Outline: o}}))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(clean, "data:image/png"); n < 1 || n > imagesSize/imageSize || len(clean) > 2*imagesSize || box.read != 1 {
		t.Errorf("%d images in %d octets, read %d times", n, len(clean), box.read)
	}
}
