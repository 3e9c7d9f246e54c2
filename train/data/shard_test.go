package data

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPreparedTravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &Prepared{
			kind: Kind(rapid.IntRange(0, 3).Draw(t, "kind")), group: rapid.Uint64().Draw(t, "group"), label: rapid.String().Draw(t, "label"),
			language: rapid.String().Draw(t, "language"),
		}
		copy(p.hash[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "hash"))
		if rapid.Bool().Draw(t, "signed") {
			p.signature = rapid.SliceOfN(rapid.Uint32(), 128, 128).Draw(t, "signature")
		}
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			p.sequences = append(p.sequences, drawSequence(t))
		}
		b, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var q Prepared
		if err := q.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(p, &q) {
			t.Fatalf("%v became %v, %v", p, &q, err)
		}
		if err := q.UnmarshalBinary(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, errPrepared) {
			t.Fatalf("cut off: %v", err)
		}
	})
}

func FuzzPrepared(f *testing.F) {
	b, err := (&Prepared{label: "a", signature: []uint32{1}, sequences: []Sequence{{[]int32{2, 3}, []bool{false, true}}}}).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Prepared
		if p.UnmarshalBinary(b) != nil {
			return
		}
		tokens := 0
		for _, s := range p.sequences {
			tokens += len(s.Tokens)
		}
		if 4*(tokens+len(p.signature)) > len(b) {
			t.Fatalf("%d tokens and %d values of %d bytes", tokens, len(p.signature), len(b))
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	for content, reason := range map[string]string{
		"{":                               "unexpected end",
		`{"version": 9, "sources": [{}]}`: "version 9",
		`{"version": 1, "sources": []}`:   "0 sources",
		`{"version": 1, "sources": [{"caches": ["../x.tokens"]}]}`:          "outside",
		`{"version": 1, "sources": [{"caches": ["gone.tokens"]}]}`:          "gone.tokens",
		`{"version": 1, "sources": [{"source": {"path": "a"}, "near": 1}]}`: "no documents are left",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v, want %q", content, err, reason)
		}
	}
}
