package recipe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile is far more than a recipe is long.
const maxFile = 1 << 20

// Load reads the recipe at path and checks all of it; the error of a recipe
// that cannot be run is a [Problems].
func Load(path string) (*Recipe, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse is [Load] of a text; file is its name in messages, and what the run
// folder is called where the recipe does not say.
func Parse(file string, text []byte) (*Recipe, error) {
	d := newDecoder(file)
	root, err := document(file, text)
	if err != nil {
		return nil, err
	}
	r := &Recipe{}
	d.into(root, r, "")
	r.readData(d)
	r.where = d.where
	if len(d.List) > 0 {
		return nil, d.err() // what settles and contradicts is only known of what could be read
	}
	r.settle(file)
	c := &checker{r, &d.Problems}
	c.all()
	r.Batch.Tokens = 0 // Sequences says it now
	if err := d.err(); err != nil {
		return nil, err
	}
	return r, nil
}

// document is the one YAML document of a text.
func document(file string, text []byte) (*yaml.Node, error) {
	p := &Problems{File: file}
	if len(text) > maxFile {
		p.add(0, "is larger than 1 MB; a recipe is a short YAML file")
		return nil, p
	}
	loader, err := yaml.NewLoader(strings.NewReader(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var doc, more yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 0:
		p.add(0, "is empty; the shortest recipe has model, data and steps")
		return nil, p
	case err != nil:
		p.syntax(err)
		return nil, p
	}
	if err := loader.Load(&more); !errors.Is(err, io.EOF) {
		p.add(more.Line, "a second document begins; a recipe is one")
		return nil, p
	}
	p.aliases(&doc)
	return doc.Content[0], p.err()
}

// aliases are refused: a few lines of them can stand for gigabytes.
func (p *Problems) aliases(n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		p.add(n.Line, "*%s is an alias; write out what it stands for", n.Value)
	}
	for _, c := range n.Content {
		p.aliases(c)
	}
}

// syntax reports what the YAML library found, in one line.
func (p *Problems) syntax(err error) {
	var le *yaml.LoadError
	if errors.As(err, &le) {
		p.add(le.Mark.Line, "not YAML: %s", strings.Join(strings.Fields(le.Message), " "))
		return
	}
	p.add(0, "%s", strings.Join(strings.Fields(err.Error()), " "))
}

// baseName is a file's name without its folder and extension.
func baseName(file string) string {
	base := filepath.Base(file)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
