package main

import (
	"archive/zip"
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// part is one of training, validation and test.
type part struct {
	name  string
	share uint64 // of partShares
	count int
}

// partShares are how many pictures of a hundred belong to each part, whatever
// how many of them are asked for: so a longer training part never takes a picture
// from the test.
const partShares = 100

func (o options) parts() []part {
	return []part{{"train", 80, o.train}, {"validation", 10, o.validation}, {"test", 10, o.test}}
}

// write draws and writes all parts.
func (o options) write() error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	from := uint64(0)
	for i, p := range o.parts() {
		r := rand.New(rand.NewPCG(o.seed, uint64(i)))
		if err := o.writePart(r, p, from); err != nil {
			return fmt.Errorf("part %s: %w", p.name, err)
		}
		from += p.share
	}
	return nil
}

// line is an example in a file of JSON lines.
type line struct {
	Image  string `json:"image"`
	Prompt string `json:"prompt"`
	Answer string `json:"answer"`
}

// writePart writes NAME.jsonl and NAME.zip, which holds the pictures.
func (o options) writePart(r *rand.Rand, p part, from uint64) (err error) {
	lines, err := os.Create(filepath.Join(o.out, p.name+".jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lines.Close()) }()
	pictures, err := os.Create(filepath.Join(o.out, p.name+".zip"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pictures.Close()) }()
	text, pack := bufio.NewWriter(lines), zip.NewWriter(pictures)
	out := json.NewEncoder(text)
	for i, e := range o.examples(r, p, from) {
		name := fmt.Sprintf("%06d.png", i)
		if err := add(pack, name, e.picture); err != nil {
			return err
		}
		if err := out.Encode(line{p.name + ".zip/" + name, e.Prompt, e.Answer}); err != nil {
			return err
		}
	}
	return errors.Join(text.Flush(), pack.Close())
}

// examples draws until the part is full, and keeps what belongs to it.
func (o options) examples(r *rand.Rand, p part, from uint64) func(yield func(int, example) bool) {
	return func(yield func(int, example) bool) {
		for n := 0; n < p.count; {
			e, ok := makers[o.kind](r)
			if bucket := e.bucket(); !ok || bucket < from || bucket >= from+p.share {
				continue
			}
			if !yield(n, e) {
				return
			}
			n++
		}
	}
}

// bucket decides which part a picture belongs to: by what is in it, so that two
// questions about one picture are never in different parts.
func (e example) bucket() uint64 {
	text, err := json.Marshal(e.key)
	if err != nil { // of numbers and strings: cannot be
		return partShares
	}
	sum := sha256.Sum256(text)
	return binary.LittleEndian.Uint64(sum[:8]) % partShares
}

// add stores a picture, which is compressed already.
func add(to *zip.Writer, name string, m image.Image) error {
	w, err := to.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	return png.Encode(w, m)
}
