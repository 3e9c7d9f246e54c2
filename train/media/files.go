package media

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// archives are zip files that stay open, by their paths.
type archives struct {
	mu   sync.Mutex
	open map[string]*zip.ReadCloser
}

// inArchive cuts a path like data/train.zip/000001.png into the archive's and
// the name in it; inside is empty for a file of its own.
func inArchive(path string) (archive, inside string) {
	const ending = ".zip" + string(filepath.Separator)
	if at := strings.LastIndex(strings.ToLower(path), ending); at >= 0 {
		return path[:at+len(ending)-1], filepath.ToSlash(path[at+len(ending):])
	}
	return path, ""
}

// read is a file's bytes, at most so many.
func (a *archives) read(path string, most int64) ([]byte, error) {
	f, err := a.file(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s: more than the %d bytes that are read", path, most)
	}
	return data, nil
}

func (a *archives) file(path string) (fs.File, error) {
	archive, inside := inArchive(path)
	if info, err := os.Stat(archive); inside == "" || err == nil && info.IsDir() {
		return os.Open(path)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	z := a.open[archive]
	if z == nil {
		var err error
		if z, err = zip.OpenReader(archive); err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
		if a.open == nil {
			a.open = map[string]*zip.ReadCloser{}
		}
		a.open[archive] = z
	}
	f, err := z.Open(inside)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	return f, nil
}

func (a *archives) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var err error
	for _, z := range a.open {
		err = errors.Join(err, z.Close())
	}
	a.open = nil
	return err
}
