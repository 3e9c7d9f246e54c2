package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSpeakersAreApart(t *testing.T) {
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	for _, name := range []string{"0_ann_0.wav", "7_ann_12.wav", "3_bob_0.wav", "x_bob_0.wav", "12_bob_1.wav", "note.txt"} {
		if err := os.WriteFile(filepath.Join(in, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := (options{in, "bob", out}).write(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"train.jsonl": {"0_ann_0.wav", "7_ann_12.wav"}, "test.jsonl": {"3_bob_0.wav"}} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%s has %d lines, want %d: %s", name, len(lines), len(want), text)
		}
		for i, w := range want {
			if !strings.Contains(lines[i], w+`"`) || !strings.Contains(lines[i], `"answer":"`+w[:1]+`"`) {
				t.Errorf("%s: %s, want %s", name, lines[i], w)
			}
		}
	}
	if err := (options{in, "eve", out}).write(); err == nil || !strings.Contains(err.Error(), "ann, bob") {
		t.Errorf("an unknown speaker: %v", err)
	}
}
