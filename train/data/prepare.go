package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"lapidary/chat"
)

// Settings say how sources are prepared.
type Settings struct {
	// Folder is where token caches are kept.
	Folder string
	Dedup  Dedup
	// Progress, if given, is told now and then how far a source is.
	Progress func(source string, documents int, tokens int64)
}

// Side is a part of the data.
type Side int

// The sides of a split.
const (
	Train Side = iota
	Validation
)

// Set is data ready to be drawn from. It may be used from several goroutines.
type Set struct {
	Kind Kind
	// Classes are the names of labels, sorted.
	Classes []string
	// Parts is how many sequences the largest document has.
	Parts int

	sources []*loaded
	report  Report
}

// loaded is a source with its tokens.
type loaded struct {
	Source
	cache   *Cache
	origin  int         // which source it is of: one may have several caches
	classes []int       // of the cache's, in Set.Classes
	sides   [2][]uint32 // the documents that are used
	exact   int
	near    int
}

// Prepare reads the sources, or finds their tokens in the cache, and leaves
// duplicates out.
func Prepare(ctx context.Context, sources []Source, tok Tokenizer, settings Settings) (set *Set, err error) {
	if err := Check(sources, tok, settings.Dedup); err != nil {
		return nil, err
	}
	set = &Set{Kind: sources[0].Kind()}
	defer func() {
		if err != nil {
			set.Close()
			set = nil
		}
	}()
	for i := range sources {
		c, err := build(ctx, &sources[i], tok, settings)
		if err != nil {
			return set, err
		}
		set.sources = append(set.sources, &loaded{Source: sources[i], origin: i, cache: c})
		set.Parts = max(set.Parts, c.parts)
	}
	set.nameClasses()
	set.divide(settings.Dedup)
	set.report = set.describe(settings.Dedup)
	return set, nil
}

// Close closes the caches.
func (s *Set) Close() {
	for _, l := range s.sources {
		_ = l.cache.Close() // it was only read
	}
}

// Check finds what is wrong with sources, alone and together, without reading
// them.
func Check(sources []Source, tok Tokenizer, d Dedup) error {
	if len(sources) == 0 {
		return errors.New("there are no sources of data")
	}
	if err := d.check(); err != nil {
		return err
	}
	for i := range sources {
		s := &sources[i]
		if err := s.Check(); err != nil {
			return err
		}
		if s.Kind() != sources[0].Kind() {
			return fmt.Errorf("source %s gives %s and source %s %s: one run takes one kind", sources[0].Path, sources[0].Kind(), s.Path, s.Kind())
		}
		if (s.Weight > 0) != (sources[0].Weight > 0) {
			return fmt.Errorf("source %s: give all sources a weight, or none", s.Path)
		}
		if s.Chats() {
			if _, _, err := tok.Chat([]chat.Message{{Role: chat.User, Content: "a"}, {Role: chat.Assistant, Content: "b"}}); err != nil {
				return fmt.Errorf("source %s has conversations: %w", s.Path, err)
			}
		}
	}
	return nil
}

// build makes a source's cache, or finds it.
func build(ctx context.Context, s *Source, tok Tokenizer, settings Settings) (*Cache, error) {
	files, err := s.Files(ctx)
	if err != nil {
		return nil, err
	}
	width := 0
	if settings.Dedup.Near > 0 {
		width = signatureWidth
	}
	key, err := s.key(files, tok, width)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(settings.Folder, key+".tokens")
	if c, err := OpenCache(name); err == nil && c.meta.Key == key {
		return c, nil
	} else if err == nil {
		_ = c.Close() // it was only read
	}
	meta := cacheMeta{Key: key, Source: s.Path}
	w, err := newCacheWriter(settings.Folder, s.Kind(), width)
	if err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	if err := fill(ctx, w, s, files, tok, &meta, settings.Progress); err != nil {
		w.abandon()
		return nil, err
	}
	if err := w.finish(name, meta); err != nil {
		w.abandon()
		// On Windows another process that reads the same cache is in the way,
		// and has what is wanted.
		if c, err := OpenCache(name); err == nil {
			return c, nil
		}
		return nil, fmt.Errorf("token cache %s: %w", name, err)
	}
	return OpenCache(name)
}

// stepsVersion changes when the same source would become other documents or
// other entries of the index.
const stepsVersion = 2

// key names a cache after everything that it depends on.
func (s *Source) key(files []string, tok Tokenizer, width int) (string, error) {
	about := *s
	about.Weight, about.Split = 0, 0
	text, err := json.Marshal(about)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, cacheVersion, stepsVersion, string(text), tok.Fingerprint(), width)
	stamp := func(name string) error {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		absolute, err := filepath.Abs(name)
		fmt.Fprintf(h, "%q %d %d\n", absolute, info.Size(), info.ModTime().UnixNano())
		return err
	}
	for _, f := range files {
		if err := stamp(f); err != nil {
			return "", err
		}
		if s.PromptFile != "" {
			if err := stamp(filepath.Join(filepath.Dir(f), s.PromptFile)); err != nil {
				return "", fmt.Errorf("source %s: prompt_file: %w", s.Path, err)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// chunk is how many documents become tokens together.
const chunk = 256

// fill reads all examples and writes their tokens in the order of the files.
func fill(ctx context.Context, w *cacheWriter, s *Source, files []string, tok Tokenizer, meta *cacheMeta, progress func(string, int, int64)) error {
	var waiting []*Example
	skip := func(err error) error {
		var b *Broken
		if !s.SkipBroken || !errors.As(err, &b) {
			return err
		}
		if meta.Skipped++; meta.Skipped == 1 {
			meta.Broken = fmt.Sprintf("%s, %s: %v", b.File, b.Place, b.Reason)
		}
		return nil
	}
	flush := func() error {
		done, errs := tokenise(waiting, tok, w.width > 0)
		waiting = waiting[:0]
		for i, p := range done {
			if errs[i] != nil {
				if err := skip(errs[i]); err != nil {
					return err
				}
				continue
			}
			if err := w.add(p); err != nil {
				return fmt.Errorf("token cache: %w", err)
			}
		}
		if progress != nil {
			progress(s.Path, len(w.entries), w.tokens)
		}
		return nil
	}
	taken := 0
	for _, name := range files {
		for e, err := range s.FileExamples(ctx, name) {
			if err != nil {
				if err := skip(err); err != nil {
					return err
				}
				continue
			}
			if s.Limit > 0 && taken == s.Limit {
				return flush()
			}
			taken++
			if waiting = append(waiting, e); len(waiting) == chunk {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// tokenise works on examples with all processors.
func tokenise(examples []*Example, tok Tokenizer, near bool) ([]*Prepared, []error) {
	out, errs := make([]*Prepared, len(examples)), make([]error, len(examples))
	workers := min(runtime.GOMAXPROCS(0), len(examples))
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(examples); i += workers {
				out[i], errs[i] = examples[i].Prepare(tok, near)
			}
		})
	}
	group.Wait()
	return out, errs
}

// Prepare is everything that is done to one example alone: its tokens, its
// hash and, for near duplicates, its signature.
func (e *Example) Prepare(tok Tokenizer, near bool) (*Prepared, error) {
	sequences, err := e.encode(tok)
	if err != nil {
		return nil, err
	}
	p := &Prepared{
		kind: e.Kind, sequences: sequences, hash: e.Hash(), group: e.side(), label: e.Label, language: languageOf(e.text()),
	}
	if near {
		p.signature = e.Signature()
	}
	return p, nil
}

// nameClasses numbers the labels of all sources together.
func (s *Set) nameClasses() {
	all := map[string]bool{}
	for _, l := range s.sources {
		for _, c := range l.cache.meta.Classes {
			all[c] = true
		}
	}
	s.Classes = sortedKeys(all)
	for _, l := range s.sources {
		for _, c := range l.cache.meta.Classes {
			l.classes = append(l.classes, slices.Index(s.Classes, c))
		}
	}
}

// divide leaves duplicates out and puts every other document on its side.
func (s *Set) divide(d Dedup) {
	f := newFinder(d)
	for _, l := range s.sources {
		for i := range l.cache.documents {
			e := l.cache.entry(i)
			exact, near := f.duplicate(e.hash, func() []uint32 { return l.cache.signature(i) })
			switch {
			case exact:
				l.exact++
			case near:
				l.near++
			}
			if (exact && (d.Exact || d.Near > 0)) || near {
				continue
			}
			l.place(i)
		}
	}
}

// place puts a document on its side.
func (l *loaded) place(i int) {
	side := Train
	if heldOut(l.cache.entry(i).group, l.Split) {
		side = Validation
	}
	l.sides[side] = append(l.sides[side], uint32(i))
}

// heldOut reports whether a hash is among the lowest fraction of all hashes.
func heldOut(hash uint64, fraction float64) bool {
	return float64(hash>>11) < fraction*(1<<53)
}

// Len is how many documents a side has.
func (s *Set) Len(side Side) int {
	n := 0
	for _, l := range s.sources {
		n += len(l.sides[side])
	}
	return n
}

// Tokens is how many tokens a side has.
func (s *Set) Tokens(side Side) int64 {
	var n int64
	for _, l := range s.sources {
		n += l.tokens(side)
	}
	return n
}

func (l *loaded) tokens(side Side) int64 {
	var n int64
	for _, i := range l.sides[side] {
		for p := range l.cache.parts {
			n += int64(l.cache.part(int(i), p).length)
		}
	}
	return n
}

// Document reads one document of a side, 0 ≤ i < [Set.Len], in the order of the
// sources.
func (s *Set) Document(side Side, i int) (Document, error) {
	for n, l := range s.sources {
		if i < len(l.sides[side]) {
			return s.document(side, ref{int32(n), int32(i)})
		}
		i -= len(l.sides[side])
	}
	return Document{}, fmt.Errorf("no document %d among %d", i, s.Len(side))
}

// ref is a document: its source, and its place among those of a side.
type ref struct{ source, index int32 }

func (s *Set) document(side Side, r ref) (Document, error) {
	l := s.sources[r.source]
	d, err := l.cache.Document(int(l.sides[side][r.index]))
	if err == nil && d.Label >= 0 {
		d.Label = l.classes[d.Label]
	}
	return d, err
}

// part is the sequence's entry.
func (s *Set) part(side Side, r ref, p int) partEntry {
	l := s.sources[r.source]
	if p >= l.cache.parts {
		return partEntry{}
	}
	return l.cache.part(int(l.sides[side][r.index]), p)
}

// Report says what the data is.
func (s *Set) Report() Report { return s.report }
