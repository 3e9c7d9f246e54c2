package beam

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"lapidary/train/data"
)

// A document travels as its place (source, file and number, 16 bytes that sort
// as the documents are ordered) with its bytes behind.
const placeSize = 16

func init() {
	register.Function3x0(byFileOf)
	register.Function2x0(startOf)
	register.Emitter2[string, []byte]()
}

// note is what the steps tell the manifest.
type note struct {
	Source  int    `json:"source"`
	Place   string `json:"place,omitempty"`
	Exact   int    `json:"exact,omitempty"`
	Near    int    `json:"near,omitempty"`
	Broken  string `json:"broken,omitempty"`
	Failure string `json:"failure,omitempty"`
	Cache   string `json:"cache,omitempty"`
}

// allNotes is the key under which notes meet.
const allNotes = "notes"

const failureName = "failure.txt"

func (n note) emit(to func(string, []byte)) {
	b, err := json.Marshal(n)
	if err == nil { // numbers and strings always are
		to(allNotes, b)
	}
}

func startOf(_ []byte, emit func(string, []byte)) { note{}.emit(emit) }

// readFn turns a file into documents.
type readFn struct {
	Job Job

	tok data.Tokenizer
}

// Setup opens the tokenizer, once a worker.
func (f *readFn) Setup() (err error) {
	f.tok, err = openTokenizer(&f.Job)
	return err
}

// ProcessElement emits documents by their hash, and notes.
func (f *readFn) ProcessElement(ctx context.Context, file []byte, emit, notes func(string, []byte)) error {
	source := int(binary.BigEndian.Uint32(file))
	s := &f.Job.Sources[source]
	place := append(bytes.Clone(file[:8]), make([]byte, 8)...)
	for e, err := range s.FileExamples(ctx, string(file[8:])) {
		var p *data.Prepared
		if err == nil {
			p, err = e.Prepare(f.tok, f.Job.Dedup.Near > 0)
		}
		binary.BigEndian.PutUint64(place[8:], binary.BigEndian.Uint64(place[8:])+1)
		if err != nil {
			var broken *data.Broken
			n := note{Source: source, Place: fmt.Sprintf("%x", place)}
			if !s.SkipBroken || !errors.As(err, &broken) {
				n.Failure = err.Error()
				n.emit(notes)
				return nil // the runner would only try again
			}
			n.Broken = fmt.Sprintf("%s, %s: %v", broken.File, broken.Place, broken.Reason)
			n.emit(notes)
			continue
		}
		b, err := p.MarshalBinary()
		if err != nil {
			return err
		}
		hash := p.Hash()
		emit(string(hash[:]), append(bytes.Clone(place), b...))
	}
	return nil
}

// exactFn keeps the first of the documents with one hash.
type exactFn struct{}

// ProcessElement emits it by its place.
func (exactFn) ProcessElement(_ string, documents func(*[]byte) bool, emit, notes func(string, []byte)) {
	var first, b []byte
	var places [][]byte
	for documents(&b) {
		places = append(places, bytes.Clone(b[:placeSize]))
		if first == nil || bytes.Compare(b, first) < 0 {
			first = bytes.Clone(b)
		}
	}
	for _, place := range places {
		if !bytes.Equal(place, first[:placeSize]) {
			note{Source: sourceOf(place), Exact: 1}.emit(notes)
		}
	}
	emit(string(first[:placeSize]), first[placeSize:])
}

func sourceOf(place []byte) int { return int(binary.BigEndian.Uint32(place)) }

// bandsFn emits signatures by what they have in each band.
type bandsFn struct{ Near float64 }

// ProcessElement takes a document by its place.
func (f *bandsFn) ProcessElement(place string, document []byte, emit func(string, []byte)) {
	var p data.Prepared
	if p.UnmarshalBinary(document) != nil { // written by readFn
		return
	}
	b := []byte(place)
	for _, v := range p.Signature() {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	for i, key := range data.BandKeys(p.Signature(), f.Near) {
		emit(fmt.Sprintf("%d %x", i, key), b)
	}
}

// pairsFn compares what shares a band.
type pairsFn struct{ Near float64 }

// ProcessElement emits pairs of places, the later one first.
func (f *pairsFn) ProcessElement(_ string, signatures func(*[]byte) bool, emit func(string, []byte)) {
	var all [][]byte
	var b []byte
	for signatures(&b) {
		all = append(all, bytes.Clone(b))
	}
	slices.SortFunc(all, bytes.Compare)
	values := make([][]uint32, len(all))
	for i, b := range all {
		for at := placeSize; at < len(b); at += 4 {
			values[i] = append(values[i], binary.BigEndian.Uint32(b[at:]))
		}
		for j := range i {
			if data.Resemblance(values[i], values[j]) >= f.Near {
				emit("pairs", append(bytes.Clone(b[:placeSize]), all[j][:placeSize]...))
			}
		}
	}
}

// resolveFn settles which documents go: those that resemble an earlier one
// that stays.
type resolveFn struct{}

// ProcessElement emits the places of those that go.
func (resolveFn) ProcessElement(_ string, pairs func(*[]byte) bool, emit func(string, []byte)) {
	var all []string
	var b []byte
	for pairs(&b) {
		all = append(all, string(b))
	}
	slices.Sort(all)
	gone := map[string]bool{}
	for _, pair := range all { // the later one's earlier ones are settled before it
		later, earlier := pair[:placeSize], pair[placeSize:]
		if !gone[earlier] && !gone[later] {
			gone[later] = true
			emit(later, nil)
		}
	}
}

// keepFn leaves out what goes.
type keepFn struct{}

// ProcessElement takes a document and whether it goes, by its place.
func (keepFn) ProcessElement(place string, documents, gone func(*[]byte) bool, emit, notes func(string, []byte)) {
	var document, b []byte
	if !documents(&document) {
		return
	}
	if gone(&b) {
		note{Source: sourceOf([]byte(place)), Near: 1}.emit(notes)
		return
	}
	emit(place, document)
}

// byFileOf brings the documents of a file together.
func byFileOf(place string, document []byte, emit func(string, []byte)) {
	emit(place[:8], append([]byte(place), document...))
}

// writeFn writes the cache of a file.
type writeFn struct{ Job Job }

// ProcessElement takes a file's documents.
func (f *writeFn) ProcessElement(file string, documents func(*[]byte) bool, notes func(string, []byte)) error {
	var all [][]byte
	var b []byte
	for documents(&b) {
		all = append(all, bytes.Clone(b))
	}
	slices.SortFunc(all, bytes.Compare)
	source := sourceOf([]byte(file))
	name := fmt.Sprintf("%05d-%05d.tokens", source, binary.BigEndian.Uint32([]byte(file[4:])))
	err := data.WriteCache(f.Job.Folder, name, &f.Job.Sources[source], f.Job.Dedup.Near > 0, func(yield func(*data.Prepared, error) bool) {
		for _, b := range all {
			p := new(data.Prepared)
			err := p.UnmarshalBinary(b[placeSize:])
			if !yield(p, err) {
				return
			}
		}
	})
	if err == nil {
		note{Source: source, Cache: name}.emit(notes)
	}
	return err
}

// manifestFn writes the manifest, or what went wrong.
type manifestFn struct{ Job Job }

// ProcessElement takes all notes.
func (f *manifestFn) ProcessElement(_ string, notes func(*[]byte) bool) error {
	m := data.Manifest{Dedup: f.Job.Dedup, Sources: make([]data.ManifestSource, len(f.Job.Sources))}
	for i := range m.Sources {
		m.Sources[i].Source = f.Job.Sources[i]
	}
	var failures, broken []note
	var b []byte
	for notes(&b) {
		var n note
		if err := json.Unmarshal(b, &n); err != nil {
			return err
		}
		s := &m.Sources[n.Source]
		s.Exact += n.Exact
		s.Near += n.Near
		switch {
		case n.Cache != "":
			s.Caches = append(s.Caches, n.Cache)
		case n.Failure != "":
			failures = append(failures, n)
		case n.Broken != "":
			broken = append(broken, n)
		}
	}
	byPlace := func(a, b note) int { return cmp.Compare(a.Place, b.Place) }
	if len(failures) > 0 {
		return os.WriteFile(filepath.Join(f.Job.Folder, failureName), []byte(slices.MinFunc(failures, byPlace).Failure), 0o644)
	}
	slices.SortFunc(broken, byPlace)
	for _, n := range broken {
		s := &m.Sources[n.Source]
		if s.Skipped++; s.Skipped == 1 {
			s.Broken = n.Broken
		}
	}
	for i := range m.Sources {
		slices.Sort(m.Sources[i].Caches)
	}
	return m.Write(f.Job.Folder)
}
