package data

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
)

// errPrepared: bytes that no [Prepared] was written as.
var errPrepared = errors.New("not a prepared document")

// MarshalBinary writes the document for another machine.
func (p *Prepared) MarshalBinary() ([]byte, error) {
	b := []byte{byte(p.kind)}
	b = append(b, p.hash[:]...)
	b = binary.LittleEndian.AppendUint64(b, p.group)
	for _, s := range []string{p.label, p.language} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.AppendUvarint(b, uint64(len(p.signature)))
	for _, v := range p.signature {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(p.sequences)))
	for _, s := range p.sequences {
		b = appendSequence(binary.AppendUvarint(b, uint64(len(s.Tokens))), s)
	}
	return b, nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (p *Prepared) UnmarshalBinary(b []byte) error {
	r := unreader{b: b}
	q := Prepared{kind: Kind(r.take(1)[0])}
	copy(q.hash[:], r.take(16))
	q.group = binary.LittleEndian.Uint64(r.take(8))
	q.label, q.language = string(r.take(r.count(1))), string(r.take(r.count(1)))
	if n := r.count(4); n > 0 {
		q.signature = make([]uint32, n)
		for i := range q.signature {
			q.signature[i] = binary.LittleEndian.Uint32(r.take(4))
		}
	}
	for range r.count(1) {
		n := r.count(4)
		s := Sequence{make([]int32, n), make([]bool, n)}
		ids, bits := r.take(4*n), r.take((n+7)/8)
		for i := range n {
			s.Tokens[i] = int32(binary.LittleEndian.Uint32(ids[4*i:]))
			s.Loss[i] = bits[i/8]>>(i%8)&1 == 1
		}
		q.sequences = append(q.sequences, s)
	}
	if r.failed || len(r.b) > 0 || q.kind > Contrasts {
		return errPrepared
	}
	*p = q
	return nil
}

// unreader takes bytes off the front; behind the end there are zeros.
type unreader struct {
	b      []byte
	failed bool
}

func (r *unreader) take(n int) []byte {
	if n > len(r.b) {
		r.failed, r.b = true, nil
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// count is a number of things that take at least size bytes each.
func (r *unreader) count(size int) int {
	n, used := binary.Uvarint(r.b)
	if used <= 0 || n > uint64(len(r.b)/size) || n > math.MaxInt32 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[used:]
	return int(n)
}

// Manifest lists what a preparation in several pieces has made. Duplicates are
// left out already, so that a report counts only the documents that are left,
// and beside them what was left out.
type Manifest struct {
	Version int              `json:"version"`
	Dedup   Dedup            `json:"dedup"`
	Sources []ManifestSource `json:"sources"`
}

// ManifestSource is a source and its caches, in the order of its documents.
type ManifestSource struct {
	Source  Source   `json:"source"`
	Caches  []string `json:"caches"`
	Exact   int      `json:"exact_duplicates"`
	Near    int      `json:"near_duplicates"`
	Skipped int      `json:"skipped"`
	Broken  string   `json:"first_skipped,omitempty"`
}

// manifestName is the manifest's file in its folder.
const manifestName = "manifest.json"

// Write writes the manifest into its folder, which is what makes the
// preparation whole.
func (m *Manifest) Write(folder string) error {
	m.Version = cacheVersion
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(folder, manifestName), b)
}

// WriteCache writes documents into a cache file of a folder.
func WriteCache(folder, name string, s *Source, near bool, documents iter.Seq2[*Prepared, error]) error {
	width := 0
	if near {
		width = signatureWidth
	}
	w, err := newCacheWriter(folder, s.Kind(), width)
	if err != nil {
		return err
	}
	for p, err := range documents {
		if err == nil {
			err = w.add(p)
		}
		if err != nil {
			w.abandon()
			return err
		}
	}
	// What another machine may have written under this name is the same.
	if err := w.finish(filepath.Join(folder, name), cacheMeta{Key: name, Source: s.Path}); err != nil {
		w.abandon()
		return err
	}
	return nil
}

// Open opens what a preparation in several pieces has left in a folder.
func Open(folder string) (set *Set, err error) {
	b, err := os.ReadFile(filepath.Join(folder, manifestName))
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, manifestName), err)
	}
	if m.Version != cacheVersion || len(m.Sources) == 0 {
		return nil, fmt.Errorf("%s: version %d with %d sources, and this program reads version %d", folder, m.Version, len(m.Sources), cacheVersion)
	}
	set = &Set{Kind: m.Sources[0].Source.Kind()}
	defer func() {
		if err != nil {
			set.Close()
			set = nil
		}
	}()
	for i, s := range m.Sources {
		for j, name := range s.Caches {
			if !filepath.IsLocal(name) {
				return set, fmt.Errorf("%s: the cache %q lies outside", folder, name)
			}
			c, err := OpenCache(filepath.Join(folder, name))
			if err != nil {
				return set, err
			}
			l := &loaded{Source: s.Source, origin: i, cache: c}
			if j == 0 {
				l.exact, l.near = s.Exact, s.Near
				c.meta.Skipped, c.meta.Broken = s.Skipped, s.Broken
			}
			set.sources = append(set.sources, l)
			if c.kind != set.Kind {
				return set, fmt.Errorf("%s holds %s among %s", name, c.kind, set.Kind)
			}
			set.Parts = max(set.Parts, c.parts)
		}
	}
	if len(set.sources) == 0 {
		return set, fmt.Errorf("%s: no documents are left", folder)
	}
	set.nameClasses()
	for _, l := range set.sources {
		for i := range l.cache.documents {
			l.place(i)
		}
	}
	set.report = set.describe(m.Dedup)
	for _, s := range m.Sources {
		if len(s.Caches) == 0 { // nothing of it is left, which is worth a line
			line := SourceReport{Source: s.Source.Path, Exact: s.Exact, Near: s.Near, Skipped: s.Skipped, Broken: s.Broken}
			set.report.Sources = append(set.report.Sources, line)
			set.report.Total.add(&line)
		}
	}
	return set, nil
}
