package data

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

var formats = []string{"text", "jsonl", "json", "csv", "tsv", "parquet"}

var extensions = map[string]string{
	".txt": "text", ".text": "text", ".md": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
	".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet",
}

// formatOf guesses a file's format from its name; "" where it says nothing.
func formatOf(name string) string {
	name = strings.ToLower(name)
	for _, c := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, c)
	}
	return extensions[path.Ext(name)]
}

// Files finds the files of a source, in a fixed order. A data set of Hugging
// Face that is not on this machine is fetched.
func (s *Source) Files(ctx context.Context) ([]string, error) {
	root := s.Path
	if strings.HasPrefix(root, "hf:") {
		set, err := parseDataset(root)
		if err != nil {
			return nil, err
		}
		return set.files(ctx, s.Config, s.Part)
	}
	info, err := os.Stat(root)
	switch {
	case err == nil && info.IsDir():
		return s.folder(root)
	case err == nil:
		return s.known([]string{root})
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	files, err := glob(root)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("source %s: there is no such file, and no file matches it as a pattern", root)
	}
	return s.known(files)
}

// folder lists a folder's data files.
func (s *Source) folder(root string) ([]string, error) {
	names, err := below(root)
	if err != nil {
		return nil, err
	}
	if slices.Contains(names, "README.md") || s.Config != "" || s.Part != "" {
		picked, err := pickFiles(names, func() ([]byte, error) { return os.ReadFile(filepath.Join(root, "README.md")) }, s.Config, s.Part)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", root, err)
		}
		return within(root, picked), nil
	}
	var files []string
	for _, name := range names {
		if f := formatOf(name); f != "" && (s.Format == "" || f == s.Format) {
			files = append(files, filepath.Join(root, filepath.FromSlash(name)))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("source %s: the folder has no data file (%s)", root, strings.Join(sortedKeys(extensions), " "))
	}
	return files, nil
}

// known checks that the format of each file is known.
func (s *Source) known(files []string) ([]string, error) {
	for _, f := range files {
		if s.Format == "" && formatOf(f) == "" {
			return nil, fmt.Errorf("source %s: the name of %s does not say what it holds; give its format (%s)", s.Path, f, strings.Join(formats, ", "))
		}
	}
	return files, nil
}

// below lists a folder's files, slash-separated and sorted, without hidden
// ones.
func below(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p != root && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(root, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	slices.Sort(names)
	return names, err
}

func within(root string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = filepath.Join(root, filepath.FromSlash(n))
	}
	return out
}

// glob finds the files of a pattern in which ** stands for any folders.
func glob(pattern string) ([]string, error) {
	pattern = filepath.ToSlash(pattern)
	fixed, wild := ".", pattern
	for i, p := range strings.Split(pattern, "/") {
		if strings.ContainsAny(p, `*?[\`) {
			parts := strings.Split(pattern, "/")
			wild = strings.Join(parts[i:], "/")
			if i > 0 {
				fixed = strings.Join(parts[:i], "/") + "/"
			}
			break
		}
	}
	if wild == pattern && !strings.ContainsAny(pattern, `*?[\`) {
		return nil, nil
	}
	if _, err := os.Stat(fixed); err != nil {
		return nil, fmt.Errorf("source %s: %w", pattern, err)
	}
	names, err := below(filepath.FromSlash(fixed))
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !matches(wild, n) })
	return within(fixed, names), nil
}

// matches is path.Match, in which ** is any number of folders.
func matches(pattern, name string) bool {
	return matchParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchParts(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(name) + 1 {
				if matchParts(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); !ok || err != nil {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}

// open opens a file, unpacking it as its name says.
func open(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	switch lower := strings.ToLower(name); {
	case strings.HasSuffix(lower, ".gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &unpacked{z, z.Close, f}, nil
	case strings.HasSuffix(lower, ".zst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &unpacked{z, func() error { z.Close(); return nil }, f}, nil
	}
	return f, nil
}

type unpacked struct {
	io.Reader
	stop func() error
	file *os.File
}

func (u *unpacked) Close() error { return errors.Join(u.stop(), u.file.Close()) }
