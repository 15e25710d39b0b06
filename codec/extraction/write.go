package extraction

import (
	"bufio"
	"io"
	"strings"
)

// Writer writes a file line by line, its columns in the order published.
type Writer[T any] struct {
	out     *bufio.Writer
	columns []column[T]
}

// NewCorrespondanceWriter writes the header of an Extraction_Correspondance_MSSante to
// w. The caller ends with Flush.
func NewCorrespondanceWriter(w io.Writer) *Writer[Correspondance] {
	return newWriter(w, correspondanceColumns)
}

// NewActivityWriter writes the header of a PS_LibreAcces_Personne_activite to w. The
// caller ends with Flush.
func NewActivityWriter(w io.Writer) *Writer[Activity] { return newWriter(w, activityColumns) }

func newWriter[T any](w io.Writer, columns []column[T]) *Writer[T] {
	out := &Writer[T]{bufio.NewWriterSize(w, 64<<10), columns}
	for i, c := range columns {
		if i > 0 {
			out.out.WriteByte('|')
		}
		out.out.WriteString(c.name)
	}
	out.out.WriteByte('\n')
	return out
}

// Write adds a line. What would break it, a bar or a line end, becomes a space: the
// format has no way to write them.
func (w *Writer[T]) Write(v *T) error {
	for i, c := range w.columns {
		if i > 0 {
			w.out.WriteByte('|')
		}
		value := *c.field(v)
		if strings.ContainsAny(value, "|\r\n") {
			value = breaks.Replace(value)
		}
		w.out.WriteString(value)
	}
	return w.out.WriteByte('\n') // a bufio.Writer keeps its first error
}

var breaks = strings.NewReplacer("|", " ", "\r", " ", "\n", " ")

// Raw adds a line as it is: for files that are wrong on purpose.
func (w *Writer[T]) Raw(line string) error {
	_, err := w.out.WriteString(line)
	return err
}

// Flush writes what is held back.
func (w *Writer[T]) Flush() error { return w.out.Flush() }
