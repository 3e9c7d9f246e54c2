// Nlvr makes data files of the Cornell natural language visual reasoning data
// (Suhr et al. 2017, ACL P17-2034): statements about drawn pictures, true or
// false. Statements that belong together, about one drawing with its boxes in
// other orders or about its siblings, are in one part.
//
//	go run ./recipes/seeing/nlvr --from nlvr --out data/nlvr
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	o := options{}
	flags := flag.NewFlagSet("nlvr", flag.ContinueOnError)
	flags.StringVar(&o.from, "from", "", "the folder with statements.jsonl and images")
	flags.StringVar(&o.out, "out", "", "the folder to write train.jsonl and validation.jsonl to")
	flags.IntVar(&o.held, "held", 50, "per cent of the drawings that are for validation")
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2) //nolint:forbidigo // this is main; flags has said why
	}
	if o.from == "" || o.out == "" || o.held < 1 || o.held > 100 || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "nlvr: want --from FOLDER --out FOLDER, --held from 1 to 100, and nothing else")
		os.Exit(2) //nolint:forbidigo // this is main
	}
	if err := o.write(); err != nil {
		fmt.Fprintln(os.Stderr, "nlvr:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

type options struct {
	from, out string
	held      int
}

// line is an example in a file of JSON lines.
type line struct {
	Image  string `json:"image"`
	Prompt string `json:"prompt"`
	Answer string `json:"answer"`
}

func (o options) write() error {
	pictures, err := o.pictures()
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(o.from, "statements.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	parts := map[string][]line{"train": nil, "validation": nil}
	statements := bufio.NewScanner(f)
	statements.Buffer(nil, 1<<20)
	for n := 1; statements.Scan(); n++ {
		part, l, err := o.read(statements.Bytes(), pictures)
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", f.Name(), n, err)
		}
		parts[part] = append(parts[part], l)
	}
	if err := statements.Err(); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	return errors.Join(put(filepath.Join(o.out, "train.jsonl"), parts["train"]), put(filepath.Join(o.out, "validation.jsonl"), parts["validation"]))
}

// pictures are the images' files by the identifiers of their statements: that of
// PART-1572-0-3.png is 1572-0.
func (o options) pictures() (map[string]string, error) {
	folder, err := filepath.Abs(filepath.Join(o.from, "images"))
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.png"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	out := map[string]string{}
	for _, name := range names {
		if parts := strings.Split(filepath.Base(name), "-"); len(parts) == 4 {
			out[parts[1]+"-"+parts[2]] = name
		}
	}
	return out, nil
}

// read makes a line of a statement and says which part it belongs to.
func (o options) read(text []byte, pictures map[string]string) (part string, l line, err error) {
	var s struct{ Sentence, Label, Identifier string }
	if err := json.Unmarshal(text, &s); err != nil {
		return "", l, err
	}
	picture := pictures[s.Identifier]
	if picture == "" {
		return "", l, fmt.Errorf("there is no picture of statement %q", s.Identifier)
	}
	drawing, _, _ := strings.Cut(s.Identifier, "-")
	sum := sha256.Sum256([]byte(drawing))
	part = "train"
	if int(sum[0])<<8+int(sum[1]) < o.held<<16/100 {
		part = "validation"
	}
	return part, line{picture, s.Sentence, s.Label}, nil
}

func put(name string, lines []line) error {
	var b strings.Builder
	out := json.NewEncoder(&b)
	for _, l := range lines {
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	return os.WriteFile(name, []byte(b.String()), 0o600)
}
