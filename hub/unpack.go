package hub

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxEntries = 10_000
	// Weights hardly compress; a zip that claims to grow more is a bomb.
	maxGrowth = 200
)

// unpack takes the files below the folder inside of a zip to dir and removes
// the zip. Entries that would land elsewhere fail it before a byte is written.
func unpack(ctx context.Context, archive, dir, inside string) ([]File, error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	defer z.Close()
	entries, err := checkEntries(archive, z, inside)
	if err != nil {
		return nil, err
	}
	var need int64
	for _, e := range entries {
		need += int64(e.UncompressedSize64)
	}
	if err := needSpace(dir, need); err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		f, err := unpackEntry(ctx, e, dir, strings.TrimPrefix(e.Name, inside+"/"))
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", e.Name, err)
		}
		files = append(files, f)
	}
	return files, errors.Join(z.Close(), os.Remove(archive))
}

// checkEntries lists the ordinary files below inside ("": all), and refuses the archive
// when any entry has a name or a size that no honest one has.
func checkEntries(archive string, z *zip.ReadCloser, inside string) ([]*zip.File, error) {
	fi, err := os.Stat(archive)
	if err != nil {
		return nil, err
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%s: %d entries, more than any model has", filepath.Base(archive), len(z.File))
	}
	var entries []*zip.File
	var total uint64
	for _, e := range z.File {
		name := strings.TrimSuffix(e.Name, "/")
		if err := safeName(name); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(archive), err)
		}
		if e.FileInfo().IsDir() || inside != "" && !strings.HasPrefix(e.Name, inside+"/") {
			continue
		}
		if !e.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: %q is no ordinary file (%v)", filepath.Base(archive), e.Name, e.Mode())
		}
		total += e.UncompressedSize64
		if e.UncompressedSize64 > 1<<50 || total > uint64(fi.Size())*maxGrowth {
			return nil, fmt.Errorf("%s: claims to unpack to over %d times its size", filepath.Base(archive), maxGrowth)
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s: holds no files below %s", filepath.Base(archive), inside)
	}
	return entries, nil
}

// safeName accepts slash-separated names that stay where they are put, on
// every system: no roots, no "..", no drives, no device names, no streams.
func safeName(name string) error {
	ok := name != "" && len(name) < 1024 && filepath.IsLocal(filepath.FromSlash(name)) && !strings.ContainsAny(name, "\\:\x00")
	for part := range strings.SplitSeq(name, "/") {
		stem, _, _ := strings.Cut(strings.ToLower(part), ".")
		ok = ok && part != "" && part != "." && part != ".." && (len(stem) != 3 || !reserved[stem])
	}
	if !ok {
		return fmt.Errorf("%q is no safe file name", name)
	}
	return nil
}

func unpackEntry(ctx context.Context, e *zip.File, dir, name string) (File, error) {
	dest := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return File{}, err
	}
	r, err := e.Open()
	if err != nil {
		return File{}, err
	}
	defer r.Close()
	w, err := os.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return File{}, err
	}
	h := sha256.New()
	// archive/zip stops at the size that the entry claims, and checks its CRC.
	n, err := io.CopyBuffer(io.MultiWriter(w, h), &ctxReader{ctx, r}, make([]byte, 1<<20))
	if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
		return File{}, err
	}
	return File{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}
