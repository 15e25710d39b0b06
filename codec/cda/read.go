package cda

import (
	"errors"
	"io"
)

// Read reads a document. See Extract for its embedded file.
func Read(r io.Reader) (*Document, error) { return nil, errors.ErrUnsupported }

// Extract writes the decoded embedded file m of the document r to w.
func Extract(r io.Reader, m Media, w io.Writer) error { return errors.ErrUnsupported }

// Render writes the document as an HTML fragment.
func Render(w io.Writer, d *Document) error { return errors.ErrUnsupported }
