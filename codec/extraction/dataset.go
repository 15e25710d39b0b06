package extraction

import (
	"path"
	"strings"
)

// DatasetOf tells the dataset that a file's name announces: that of a text, or of the
// archive as it is published.
func DatasetOf(fileName string) (Dataset, bool) {
	base := foldName(path.Base(strings.ReplaceAll(fileName, `\`, "/")))
	switch {
	case strings.HasPrefix(base, Correspondances.prefix()):
		return Correspondances, true
	case strings.HasPrefix(base, "pslibreacces"):
		return Activities, true
	}
	return "", false
}
