// Package hubtest has servers that speak the protocols models are fetched
// with, on this machine and for tests: a file server that can be told to
// misbehave, a Hugging Face hub, and an Ollama registry. It also makes Python
// wheels, and bytes that pass for a model.
package hubtest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// GGUF is n bytes that begin as a GGUF file does and cannot be compressed.
func GGUF(n int, seed uint64) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = src.Read(b)
	copy(b, "GGUF\x03\x00\x00\x00")
	return b
}

// SHA256 is b's checksum in hexadecimal.
func SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Request is what a server was asked.
type Request struct {
	Method, Path, Range, Authorization string
}

// Files serves files by their path, with ranges and entity tags, and
// misbehaves on demand.
type Files struct {
	mu       sync.Mutex
	files    map[string][]byte
	requests []Request
	sent     map[string]int64
	cuts     []int
	hold     chan struct{}
	holdAt   int
	status   []int

	// Unsized leaves out Content-Length, and with it ranges.
	Unsized bool
	// NoRange answers range requests with the whole file.
	NoRange bool
	// NoTag sends no ETag and no date.
	NoTag bool
}

// NewFiles is a server of no files yet.
func NewFiles() *Files { return &Files{files: map[string][]byte{}, sent: map[string]int64{}} }

// Put adds or replaces a file; path begins with a slash.
func (f *Files) Put(path string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[path] = data
}

// Cut breaks the connections of the next answers, each after its number of
// bytes.
func (f *Files) Cut(after ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts = after
}

// Hold stops every answer after n bytes until the returned function is called.
func (f *Files) Hold(n int) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold, f.holdAt = make(chan struct{}), n
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		close(f.hold)
		f.hold = nil
	})
}

// Fail answers the next requests with these statuses.
func (f *Files) Fail(status ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = append(f.status, status...)
}

// Requests is what was asked so far.
func (f *Files) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Request(nil), f.requests...)
}

// Sent is the bytes of a file's body that were sent so far, in all answers.
func (f *Files) Sent(path string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[path]
}

func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, Request{r.Method, r.URL.Path, r.Header.Get("Range"), r.Header.Get("Authorization")})
	data, ok := f.files[r.URL.Path]
	b := body{ResponseWriter: w, files: f, path: r.URL.Path, limit: -1, holdAt: -1}
	if len(f.cuts) > 0 && r.Method == http.MethodGet {
		b.limit, f.cuts = f.cuts[0], f.cuts[1:]
	}
	if f.hold != nil && r.Method == http.MethodGet {
		b.hold, b.holdAt, b.gone = f.hold, f.holdAt, r.Context().Done()
	}
	var status int
	if len(f.status) > 0 {
		status, f.status = f.status[0], f.status[1:]
	}
	f.mu.Unlock()
	switch {
	case status != 0:
		w.WriteHeader(status)
	case !ok:
		http.NotFound(w, r)
	default:
		f.serve(&b, r, data)
	}
}

func (f *Files) serve(w *body, r *http.Request, data []byte) {
	if f.Unsized {
		for len(data) > 0 {
			n, err := w.Write(data[:min(len(data), 64<<10)])
			if err != nil {
				return
			}
			data = data[n:]
			w.ResponseWriter.(http.Flusher).Flush()
		}
		return
	}
	var date time.Time
	if !f.NoTag {
		w.Header().Set("ETag", strconv.Quote(SHA256(data)[:16]))
		date = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	if f.NoRange {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", date, bytes.NewReader(data))
}

// body is an answer that may stop before its end.
type body struct {
	http.ResponseWriter
	files         *Files
	path          string
	limit, holdAt int
	hold, gone    <-chan struct{}
	n             int
}

func (b *body) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		chunk := p[:min(len(p), 16<<10)]
		if b.limit >= 0 {
			chunk = chunk[:min(len(chunk), b.limit-b.n)]
		}
		if len(chunk) == 0 {
			panic(http.ErrAbortHandler)
		}
		if b.holdAt >= 0 && b.n < b.holdAt {
			chunk = chunk[:min(len(chunk), b.holdAt-b.n)]
		}
		n, err := b.ResponseWriter.Write(chunk)
		b.n += n
		total += n
		b.files.count(b.path, n)
		if err != nil {
			return total, err
		}
		p = p[n:]
		b.pause()
		if b.limit >= 0 && b.n >= b.limit {
			b.ResponseWriter.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	return total, nil
}

// pause waits where the answer is to be held.
func (b *body) pause() {
	if b.holdAt < 0 || b.n < b.holdAt {
		return
	}
	b.holdAt = -1
	b.ResponseWriter.(http.Flusher).Flush()
	select {
	case <-b.hold:
	case <-b.gone:
	}
}

func (f *Files) count(path string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent[path] += int64(n)
}

// Wheel writes a Python wheel with the given files into dir, so that
// pip --find-links finds it there. More is added to its metadata.
func Wheel(dir, name, version string, files map[string][]byte, more string) error {
	stem := strings.ReplaceAll(name, "-", "_") + "-" + version
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	add := func(name string, data []byte) error {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	for n, data := range files {
		if err := add(n, data); err != nil {
			return err
		}
	}
	meta := fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n%s", name, version, more)
	wheel := "Wheel-Version: 1.0\nGenerator: hubtest\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
	for n, text := range map[string]string{"METADATA": meta, "WHEEL": wheel, "RECORD": ""} {
		if err := add(stem+".dist-info/"+n, []byte(text)); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, stem+"-py3-none-any.whl"), buf.Bytes(), 0o644)
}
