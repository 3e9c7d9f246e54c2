package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func written(t *testing.T, kind string, seed uint64) string {
	t.Helper()
	o := options{kind: kind, out: t.TempDir(), seed: seed, train: 40, validation: 10, test: 10}
	if err := o.check(nil); err != nil {
		t.Fatal(err)
	}
	if err := o.write(); err != nil {
		t.Fatal(err)
	}
	return o.out
}

func bytesOf(t *testing.T, folder, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSameSeedSameBytes(t *testing.T) {
	for kind := range makers {
		one, two, other := written(t, kind, 7), written(t, kind, 7), written(t, kind, 8)
		for _, name := range []string{"train.jsonl", "train.zip", "validation.jsonl", "test.zip"} {
			if !bytes.Equal(bytesOf(t, one, name), bytesOf(t, two, name)) {
				t.Errorf("%s: %s differs between two runs with one seed", kind, name)
			}
			if bytes.Equal(bytesOf(t, one, name), bytesOf(t, other, name)) {
				t.Errorf("%s: %s is the same for two seeds", kind, name)
			}
		}
	}
}

func TestLinesNamePictures(t *testing.T) {
	folder := written(t, "questions", 1)
	pack, err := zip.OpenReader(filepath.Join(folder, "train.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer pack.Close()
	lines := strings.Split(strings.TrimSpace(string(bytesOf(t, folder, "train.jsonl"))), "\n")
	if len(lines) != 40 || len(pack.File) != 40 {
		t.Fatalf("%d lines and %d pictures, want 40", len(lines), len(pack.File))
	}
	for i, text := range lines {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Image != "train.zip/"+pack.File[i].Name || l.Prompt == "" || l.Answer == "" {
			t.Errorf("line %d: %+v beside %s", i, l, pack.File[i].Name)
		}
		r, err := pack.File[i].Open()
		if err != nil {
			t.Fatal(err)
		}
		m, err := png.Decode(r)
		if err != nil || m.Bounds().Dx() != canvas || m.Bounds().Dy() != canvas {
			t.Errorf("picture %d: %v, %v", i, m.Bounds(), err)
		}
	}
}

func TestPartsAreApart(t *testing.T) {
	o := options{kind: "questions", train: 300, validation: 100, test: 100}
	seen, from := map[string]string{}, uint64(0)
	for i, p := range o.parts() {
		for _, e := range o.examples(rand.New(rand.NewPCG(3, uint64(i))), p, from) {
			text, err := json.Marshal(e.key)
			if err != nil {
				t.Fatal(err)
			}
			if before := seen[string(text)]; before != "" && before != p.name {
				t.Errorf("a scene of %s is in %s too", before, p.name)
			}
			seen[string(text)] = p.name
		}
		from += p.share
	}
}

func TestAnswersAreBalanced(t *testing.T) {
	for kind, make := range makers {
		r, n := rand.New(rand.NewPCG(5, 5)), map[string]int{}
		for range 1500 {
			if e, ok := make(r); ok {
				n[e.Answer]++
			}
		}
		for _, pair := range [][2]string{{"yes", "no"}, {"circle", "triangle"}, {"red", "purple"}, {"true", "false"}, {"2", "4"}} {
			a, b := n[pair[0]], n[pair[1]]
			if 2*a < b || 2*b < a {
				t.Errorf("%s: %d of %s, %d of %s", kind, a, pair[0], b, pair[1])
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	things := []thing{{"circle", "red", 2, 2, 10}, {"square", "blue", 30, 4, 10}, {"circle", "blue", 4, 34, 10}}
	r := rand.New(rand.NewPCG(1, 1))
	want := map[string]string{
		"how many circles are there?": "2", "how many blue shapes are there?": "2", "how many green shapes are there?": "0",
		"how many shapes are there?": "3", "what colour is the square?": "blue", "which shape is red?": "circle",
		"which shape is at the top right?": "square", "what colour is the shape at the bottom left?": "blue",
		"is the red circle left of the blue square?": "yes", "is the blue circle above the blue square?": "no",
	}
	for range 2000 {
		for _, q := range questions {
			prompt, answer := q.ask(r, things)
			if is, known := want[prompt]; known && is != answer {
				t.Fatalf("%s %s, want %s", prompt, answer, is)
			}
		}
	}
}

func TestStatementsHold(t *testing.T) {
	towers := boxes{
		{{"square", "blue", 40, 80, 20}, {"square", "yellow", 40, 59, 20}},
		{{"square", "black", 40, 80, 20}},
		{{"square", "blue", 40, 80, 20}, {"square", "blue", 40, 59, 20}, {"square", "black", 40, 38, 20}},
	}
	heaps := boxes{
		{{"circle", "yellow", 0, 40, 20}, {"square", "black", 70, 70, 30}},
		{{"triangle", "blue", 40, 40, 10}},
		{{"triangle", "blue", 20, 90, 10}, {"square", "blue", 50, 50, 20}},
	}
	want := map[string]bool{
		"There is a tower with a yellow block over a blue block.": true, "There is a blue block over a black block.": false,
		"There are exactly 2 black blocks.": true, "There is a black tower.": true, "There is no tower with four blocks.": true,
		"There is a yellow block as the base of a tower.": false, "There is 1 tower with 2 blue blocks stacked together.": true,
		"There is a box with 3 items.": false, "There are 2 triangles.": true, "There is a square touching a corner.": true,
		"There is a blue triangle touching the base.": true, "There is one blue triangle not touching any edge.": true,
		"Each box has at least 1 blue item.": false, "There is a box with items of only one color.": true,
	}
	checkStatements(t, aboutTowers, towers, want)
	checkStatements(t, aboutHeaps, heaps, want)
}

func checkStatements(t *testing.T, about []said, b boxes, want map[string]bool) {
	t.Helper()
	r, met := rand.New(rand.NewPCG(2, 2)), 0
	for range 3000 {
		for _, s := range about {
			text, holds := s(r)
			is, known := want[text]
			if known {
				met++
			}
			if known && holds(b) != is {
				t.Fatalf("%s: %v, want %v", text, !is, is)
			}
		}
	}
	if met == 0 {
		t.Error("none of the statements was drawn")
	}
}

func TestMisuse(t *testing.T) {
	for _, o := range []options{{kind: "questions"}, {kind: "films", out: "x"}, {kind: "questions", out: "x", train: -1}, {kind: "questions", out: "x", test: mostExamples + 1}} {
		if o.check(nil) == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if (options{kind: "questions", out: "x"}).check([]string{"more"}) == nil {
		t.Error("arguments are accepted")
	}
}
