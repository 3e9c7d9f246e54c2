package media

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary"
	"lapidary/checkpoint"
	"lapidary/tokenizer"
	"lapidary/train/recipe"
	"lapidary/train/scratch"
)

// tiny makes the folder of a model that sees patches of 4 × 4 and hears frames of
// 160 samples.
func tiny(t *testing.T) string {
	t.Helper()
	texts := slices.Values(slices.Repeat([]string{"how many circles are there? 3 two red yes no"}, 4))
	folder := filepath.Join(t.TempDir(), "tiny")
	err := scratch.Make(recipe.FromScratch{
		Family: "gemma4_unified", Layers: 2, Width: 16, Heads: 2, KVHeads: 2, HeadSize: 8, FeedForward: 16, Window: 64, Pattern: 2, Context: 256,
		Vocab: recipe.Vocab{Train: 360}, Pictures: &recipe.Pictures{Patch: 4, Pooling: 1, Places: 16}, Sounds: &recipe.Sounds{Samples: 160},
	}, texts, 1, folder)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func loader(t *testing.T, folder string, a Augment) *Loader {
	t.Helper()
	c, err := checkpoint.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	tok, err := tokenizer.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(c, tok, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// data is a folder with a packed picture, a sound of 0.1 s, and lines about them.
func data(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	m := image.NewRGBA(image.Rect(0, 0, 32, 32))
	m.Set(3, 3, color.White)
	f, err := os.Create(filepath.Join(folder, "pictures.zip"))
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("a.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(w, m); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, folder, "7.wav", wave(tone(800, 8000), 8000))
	put(t, folder, "all.jsonl", []byte(`{"image": "pictures.zip/a.png", "prompt": "how many?", "answer": "3"}

{"audio": "7.wav", "answer": "two"}
`))
	return folder
}

func put(t *testing.T, folder, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func tone(n, rate int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(0.3 * math.Sin(2*math.Pi*440*float64(i)/float64(rate)))
	}
	return out
}

// wave writes a RIFF file of one channel in 16 bits.
func wave(x []float32, rate int) []byte {
	var b bytes.Buffer
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("RIFF")
	le(uint32(36 + 2*len(x)))
	b.WriteString("WAVEfmt ")
	le(uint32(16))
	le([]uint16{1, 1})
	le([]uint32{uint32(rate), uint32(2 * rate)})
	le([]uint16{2, 16})
	b.WriteString("data")
	le(uint32(2 * len(x)))
	for _, v := range x {
		le(int16(v * 32767))
	}
	return b.Bytes()
}

func TestLoad(t *testing.T) {
	l := loader(t, tiny(t), Augment{})
	examples, err := Read(filepath.Join(data(t), "all.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(examples) != 2 {
		t.Fatalf("%d examples, want 2", len(examples))
	}
	for i, soft := range []int{64, 10} { // 8 × 8 patches; 0.1 s at 16 kHz in frames of 160
		it, err := l.Load(context.Background(), examples[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(it.Places) != 1 || it.Places[0][1]-it.Places[0][0] != soft {
			t.Errorf("example %d: places %v, want one of %d", i, it.Places, soft)
		}
		answer := len(tokenizer.IDs(l.tokenizer.Encode(" "+examples[i].Answer))) + 1
		if learnt := count(it.Loss); learnt != answer || !it.Loss[len(it.Loss)-1] || it.Tokens[len(it.Tokens)-1] != l.end {
			t.Errorf("example %d: %d tokens learnt of %v, want the last %d", i, learnt, it.Loss, answer)
		}
		if (len(it.Pictures) == 1) != (i == 0) || (len(it.Sounds) == 1) != (i == 1) || (len(it.Together) == 1) != (i == 0) {
			t.Errorf("example %d: %d pictures, %d sounds, together %v", i, len(it.Pictures), len(it.Sounds), it.Together)
		}
	}
}

func count(of []bool) int {
	n := 0
	for _, is := range of {
		if is {
			n++
		}
	}
	return n
}

// TestAsAsked compares with the tokens of lapidary's own prompt.
func TestAsAsked(t *testing.T) {
	folder, files := tiny(t), data(t)
	examples, err := Read(filepath.Join(files, "all.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := lapidary.Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	l := loader(t, folder, Augment{})
	a := asker{model: m}
	defer a.files.close()
	for _, e := range examples {
		it, err := l.Load(t.Context(), e, nil)
		if err != nil {
			t.Fatal(err)
		}
		prompt, err := a.prompt(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(it.Loss) - count(it.Loss); !slices.Equal(it.Tokens[:n], prompt.Tokens) || len(prompt.Soft) != 1 || prompt.Soft[0].At != it.Places[0][0] {
			t.Errorf("%s: trained after %v, asked after %v", e.Place, it.Tokens[:n], prompt.Tokens)
		}
		if !slices.Equal(it.Together, prompt.Together) {
			t.Errorf("%s: together %v, asked %v", e.Place, it.Together, prompt.Together)
		}
	}
	score, err := Accuracy(t.Context(), m, examples, nil)
	if err != nil || score.Total != 2 || score.Right+len(score.Wrong) != 2 {
		t.Errorf("%+v, %v", score, err)
	}
}

func TestAugmentDependsOnDrawAlone(t *testing.T) {
	a := Augment{Speed: [2]float64{0.8, 1.25}, Warp: 0.2, Lead: 0.05, Level: 0.1, Gain: 6, Equalise: 4, Notch: 300, Gap: 0.02, Noise: [2]float64{10, 40}, Flip: true}
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	x := tone(1600, 16000)
	before := slices.Clone(x)
	one, same := a.Apply(x, 16000, Draw{1, 5, 3}), a.Apply(x, 16000, Draw{1, 5, 3})
	if !slices.Equal(one, same) {
		t.Error("the same draw gives two sounds")
	}
	for _, d := range []Draw{{2, 5, 3}, {1, 6, 3}, {1, 5, 4}} {
		if slices.Equal(one, a.Apply(x, 16000, d)) {
			t.Errorf("%+v gives the same sound as another draw", d)
		}
	}
	if !slices.Equal(x, before) {
		t.Error("the recording was changed")
	}
}

func TestAugmentNothing(t *testing.T) {
	x := tone(1000, 16000)
	if got := (Augment{}).Apply(x, 16000, Draw{}); !slices.Equal(got, x) {
		t.Error("no augmentation changes the recording")
	}
	if got := (Augment{}).Apply(nil, 16000, Draw{}); got != nil {
		t.Errorf("silence gives %v", got)
	}
}

func TestSpeedMovesPitch(t *testing.T) {
	x := tone(16000, 16000)
	fast := Augment{Speed: [2]float64{2, 2}}.Apply(x, 16000, Draw{})
	if len(fast) != 8000 {
		t.Fatalf("%d samples at twice the speed, want 8000", len(fast))
	}
	crossings := 0
	for i := 1; i < len(fast); i++ {
		if fast[i-1] < 0 && fast[i] >= 0 {
			crossings++
		}
	}
	if crossings < 438 || crossings > 441 { // 880 Hz for half a second
		t.Errorf("%d periods in half a second, want 440", crossings)
	}
}

func TestEqualiseKeepsLength(t *testing.T) {
	for _, n := range []int{1, 7, 1000, 1025} {
		x := tone(n, 16000)
		got := Augment{Equalise: 1e-9}.Apply(x, 16000, Draw{})
		for i := range x {
			if math.Abs(float64(got[i]-x[i])) > 1e-6 {
				t.Fatalf("%d samples: sample %d is %g, want %g", n, i, got[i], x[i])
			}
		}
	}
}

func TestAugmentCheck(t *testing.T) {
	for _, a := range []Augment{{Speed: [2]float64{0, 1}}, {Speed: [2]float64{1.2, 0.9}}, {Warp: 1}, {Level: 2}, {Noise: [2]float64{3, 1}}, {Gap: -1}, {Gain: math.NaN()}} {
		if a.Check() == nil {
			t.Errorf("%+v is accepted", a)
		}
	}
}

func TestBadLines(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "no examples",
		"{\n":                              "line 1",
		`{"prompt":"x","answer":"y"}`:      "neither an image nor an audio",
		"\n" + `{"image":"x"}`:             "line 2: no answer",
		`{"image":5,"answer":"y"}`:         "line 1",
		strings.Repeat("x", longestLine+1): "too long",
	} {
		if _, err := parse(strings.NewReader(text), "d/f.jsonl"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

func TestMissingFiles(t *testing.T) {
	l, folder := loader(t, tiny(t), Augment{}), data(t)
	for _, name := range []string{"none.png", "pictures.zip/none.png", "none.zip/a.png", "7.wav"} {
		e := Example{Image: filepath.Join(folder, filepath.FromSlash(name)), Answer: "x", Place: "f, line 9"}
		if _, err := l.Load(context.Background(), e, nil); err == nil || !strings.HasPrefix(err.Error(), "f, line 9: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
