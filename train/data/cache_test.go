package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// writeCache writes documents into a cache file.
func writeCache(t testing.TB, kind Kind, width int, documents []*Prepared) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w, err := newCacheWriter(dir, kind, width)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents {
		if err := w.add(d); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "x.tokens")
	if err := w.finish(name, cacheMeta{Key: "x"}); err != nil {
		t.Fatal(err)
	}
	return name
}

func drawSequence(t *rapid.T) Sequence {
	tokens := rapid.SliceOfN(rapid.Int32Range(0, 262143), 1, 40).Draw(t, "tokens")
	return Sequence{tokens, rapid.SliceOfN(rapid.Bool(), len(tokens), len(tokens)).Draw(t, "loss")}
}

func TestCacheGivesBackWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kind := Kind(rapid.IntRange(0, 3).Draw(rt, "kind"))
		width := rapid.SampledFrom([]int{0, signatureWidth}).Draw(rt, "width")
		parts := 1
		if kind >= Preferences {
			parts = 3
		}
		var documents []*Prepared
		for range rapid.IntRange(0, 8).Draw(rt, "documents") {
			p := &Prepared{kind: kind, label: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "label"), language: "en", group: rapid.Uint64().Draw(rt, "group")}
			for range rapid.IntRange(1, parts).Draw(rt, "parts") {
				p.sequences = append(p.sequences, drawSequence(rt))
			}
			if width > 0 {
				p.signature = rapid.SliceOfN(rapid.Uint32(), width, width).Draw(rt, "signature")
			}
			documents = append(documents, p)
		}
		c, err := OpenCache(writeCache(t, kind, width, documents))
		if err != nil {
			rt.Fatal(err)
		}
		defer c.Close()
		if c.Len() != len(documents) {
			rt.Fatalf("%d documents of %d", c.Len(), len(documents))
		}
		for i, want := range documents {
			got, err := c.Document(i)
			if err != nil || !reflect.DeepEqual(got.Sequences, want.sequences) {
				rt.Fatalf("document %d: %v, %v; want %v", i, got, err, want.sequences)
			}
			if kind == Labelled && c.meta.Classes[got.Label] != want.label || c.entry(i).group != want.group {
				rt.Fatalf("document %d: label or group differ", i)
			}
			if width > 0 && !reflect.DeepEqual(c.signature(i), want.signature) {
				rt.Fatalf("document %d: the signature differs", i)
			}
		}
	})
}

func sample(t testing.TB) []byte {
	b, err := os.ReadFile(writeCache(t, Labelled, 0, []*Prepared{
		{kind: Labelled, label: "a", language: "en", sequences: []Sequence{{[]int32{2, 70000, 1}, []bool{false, true, true}}}},
		{kind: Labelled, label: "b", language: "de", sequences: []Sequence{{[]int32{5}, []bool{true}}}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDamagedCache: every changed byte and every cut is noticed.
func TestDamagedCache(t *testing.T) {
	whole := sample(t)
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		if err := readAll(b); err == nil && !unused(i, len(b)) {
			t.Errorf("byte %d of %d was changed and nobody noticed", i, len(b))
		}
		if err := readAll(whole[:i]); err == nil {
			t.Errorf("cut to %d bytes and nobody noticed", i)
		}
	}
	name := filepath.Join(t.TempDir(), "x.tokens")
	if err := os.WriteFile(name, whole[:50], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCache(name); !errors.Is(err, ErrCache) {
		t.Errorf("got %v", err)
	}
}

// unused are the zeros of head and foot.
func unused(i, size int) bool {
	return i >= 12 && i < headSize || i >= size-footSize+80 && i < size-8
}

// readAll opens a cache and reads every document.
func readAll(b []byte) error {
	c, err := readCache(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	for i := range c.Len() {
		if _, err := c.Document(i); err != nil {
			return err
		}
	}
	return nil
}

// FuzzCache mends the checksums, so that what lies behind them is reached.
func FuzzCache(f *testing.F) {
	f.Add(sample(f))
	f.Add(sample(f)[:headSize+footSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headSize+footSize {
			return
		}
		foot := b[len(b)-footSize:]
		le := binary.LittleEndian
		if from, to := le.Uint64(foot[24:]), uint64(len(b)-footSize); from <= to {
			le.PutUint32(foot[56:], crc32.Checksum(b[from:to], castagnoli))
		}
		le.PutUint32(foot[76:], crc32.Checksum(foot[:76], castagnoli))
		c, err := readCache(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for i := range c.Len() {
			d, err := c.Document(i)
			if err != nil {
				continue
			}
			for _, s := range d.Sequences {
				if 4*len(s.Tokens) > len(b) {
					t.Fatal("more tokens than bytes")
				}
			}
		}
	})
}
