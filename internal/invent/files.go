package invent

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"pli/codec/extraction"
)

// WriteFiles writes both extractions into a folder, ZIP as published, and returns their
// paths: the correspondances first.
func WriteFiles(dir string, o Options) ([]string, error) {
	stamp := strings.TrimSuffix(strings.TrimPrefix(extraction.FileName(extraction.Correspondances, o.ExtractedAt()), "Extraction_Correspondance_MSSante_"), ".txt")
	var paths []string
	for _, f := range []struct {
		name  string
		write func(io.Writer, Options) error
	}{
		{"Extraction_Correspondance_MSSante_" + stamp + ".zip", ZIPCorrespondances},
		{"PS_LibreAcces_" + stamp + ".zip", ZIPActivities},
	} {
		path := filepath.Join(dir, f.name)
		if err := writeFile(path, o, f.write); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// writeFile leaves the whole file there, or none.
func writeFile(path string, o Options, write func(io.Writer, Options) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".extraction-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f, o); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
