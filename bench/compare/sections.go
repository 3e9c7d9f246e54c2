package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"lapidary/engine/cpu/kernel"
)

// section is a part of the page.
type section struct {
	name    string
	measure func(b *bench) (string, error)
	alone   bool // says itself what it was measured with
}

var sections = []section{
	{"compare", (*bench).compare, false},
	{"roofline", (*bench).roofline, false},
	{"length", (*bench).lengths, false},
	{"depth", (*bench).depths, false},
	{"formats", (*bench).formats, false},
	{"instructions", (*bench).instructions, false},
	{"threads", (*bench).threadCounts, false},
	{"tokenizer", (*bench).tokenizer, true},
}

func sectionNames() []string {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// compare is the table that everybody looks at first.
func (b *bench) compare() (string, error) {
	tests := []struct {
		name string
		test
	}{
		{"prefill, 512 tokens", test{prompt: 512}},
		{"prefill, 4096 tokens", test{prompt: 4096}},
		{"decode", test{gen: 128}},
		{"decode at depth 4096", test{gen: 64, depth: 4096}},
	}
	t := table{{"", "lapidary", "llama.cpp", "ratio"}}
	for _, x := range tests {
		v, err := b.turns(b.file, x.test, b.sides...)
		if err != nil {
			return "", err
		}
		t.add(x.name, unit(v[0], "tok/s"), unit(v[1], "tok/s"), ratio(v[0]/v[1]))
	}
	err := b.start(&t)
	return t.String(), err
}

// start measures a whole process: load, a six-token prompt, one new token.
func (b *bench) start(t *table) error {
	const prompt = "The capital of France is"
	threads := strconv.Itoa(b.threads)
	var times, memory [2][]float64
	for range b.rounds {
		for i, cmd := range []*exec.Cmd{
			exec.CommandContext(b, b.ours, "run", b.file, "--raw", "--temperature", "0", "--max-tokens", "1", "--threads", threads, prompt),
			exec.CommandContext(b, filepath.Join(b.theirs, "llama-completion"), "-m", b.file, "-t", threads, "-n", "1", "--temp", "0", "-no-cnv", "-p", prompt),
		} {
			began := time.Now()
			if _, err := output(cmd); err != nil {
				return err
			}
			times[i] = append(times[i], time.Since(began).Seconds())
			memory[i] = append(memory[i], peak(cmd.ProcessState))
		}
	}
	o, p := median(times[0]), median(times[1])
	t.add("process start to first token", unit(o, "s"), unit(p, "s"), ratio(p/o))
	if o, p = median(memory[0]), median(memory[1]); o > 0 {
		t.add("peak resident memory", unit(o, "MiB"), unit(p, "MiB"), ratio(p/o))
	}
	return nil
}

// lengths shows how the cost of a prompt grows with it.
func (b *bench) lengths() (string, error) {
	lengths := []int{128, 256, 512, 1024, 2048, 4096, 8192, 16384}
	if b.quick {
		lengths = []int{128, 512, 2048}
	}
	t := table{{"tokens of the prompt", "lapidary", "a token", "llama.cpp", "a token", "ratio"}}
	for _, n := range lengths {
		v, err := b.turns(b.file, test{prompt: n, cold: n > 2048}, b.sides...)
		if err != nil {
			return "", err
		}
		t.add(thousands(n), unit(v[0], "tok/s"), unit(1e3/v[0], "ms"), unit(v[1], "tok/s"), unit(1e3/v[1], "ms"), ratio(v[0]/v[1]))
	}
	return t.String(), nil
}

// depths shows what a token costs when there is much to look back at. The cache
// is filled anew each time, which takes the peer minutes: two turns have to do
// for the deepest.
func (b *bench) depths() (string, error) {
	depths := []int{0, 1024, 4096, 8192, 16384, 30000}
	if b.quick {
		depths = []int{0, 1024, 4096}
	}
	once := *b
	t := table{{"tokens before", "lapidary", "a token", "llama.cpp", "a token", "ratio"}}
	for _, d := range depths {
		once.rounds = b.rounds
		if d > 8192 {
			once.rounds = min(b.rounds, 2)
		}
		v, err := once.turns(b.file, test{gen: 64, depth: d}, b.sides...)
		if err != nil {
			return "", err
		}
		t.add(thousands(d), unit(v[0], "tok/s"), unit(1e3/v[0], "ms"), unit(v[1], "tok/s"), unit(1e3/v[1], "ms"), ratio(v[0]/v[1]))
	}
	return t.String(), nil
}

// instructions compares the sets of kernels of this machine.
func (b *bench) instructions() (string, error) {
	t := table{{"instructions", "prefill, 512", "llama.cpp", "ratio", "decode", "llama.cpp", "ratio"}}
	for i, set := range kernel.All() {
		turns, prefill, decode := *b, test{prompt: 512}, test{gen: 128}
		if set.Name == "generic" { // three hundred times as slow
			turns.rounds, prefill, decode = 1, test{prompt: 32, cold: true}, test{gen: 8, cold: true}
		}
		peer, err := b.peerFor(set.Name, i == 0)
		if err != nil {
			return "", err
		}
		row := []string{set.Name}
		for _, x := range []test{prefill, decode} {
			v, err := turns.turns(b.file, x, lapidary(b.ours, set.Name), peer)
			if err != nil {
				return "", err
			}
			row = append(row, unit(v[0], "tok/s"), unit(v[1], "tok/s"), ratio(v[0]/v[1]))
		}
		t.add(row...)
	}
	return t.String(), nil
}

// peerFor is llama.cpp built for the same instructions, or nil: it is built for
// this machine, and for AVX2 when there is one.
func (b *bench) peerFor(set string, best bool) (*side, error) {
	switch {
	case best:
		return b.sides[1], nil
	case set == "avx2" && b.peerAVX2 == "build":
		folder, err := line(b, "bench/peer.sh", "avx2")
		return llama(folder), err
	case set == "avx2" && b.peerAVX2 != "":
		return llama(b.peerAVX2), nil
	}
	return nil, nil
}

// threadCounts shows what more threads bring, and what too many cost.
func (b *bench) threadCounts() (string, error) {
	t := table{{"threads", "prefill, 512", "llama.cpp", "ratio", "decode", "llama.cpp", "ratio"}}
	counts := threadCounts(b.threads)
	if b.quick {
		counts = counts[:len(counts)-2]
	}
	for _, n := range counts {
		row := []string{strconv.Itoa(n)}
		if n > b.threads {
			row[0] += " (too many)"
		}
		for _, x := range []test{{prompt: 512}, {gen: 64}} {
			x.threads, x.limit = n, time.Minute
			v, err := b.turns(b.file, x, b.sides...)
			if err != nil {
				return "", err
			}
			row = append(row, unit(v[0], "tok/s"), unit(v[1], "tok/s"), ratio(v[0]/v[1]))
		}
		t.add(row...)
	}
	return t.String() + "\nA dash is a test that took more than a minute.\n", nil
}

// threadCounts are powers of two up to the cores, then 2, 4 and 16 times as
// many threads as cores.
func threadCounts(cores int) []int {
	var counts []int
	for n := 1; n < cores; n *= 2 {
		counts = append(counts, n)
	}
	return append(counts, cores, 2*cores, 4*cores, 16*cores)
}

// tokenizer runs the comparison that ./bench/tokens makes.
func (b *bench) tokenizer() (string, error) {
	args := []string{"run", "./bench/tokens", "-model", b.file}
	if b.quick {
		args = append(args, "-size", strconv.Itoa(1<<20), "-rounds", "3")
	}
	text, err := line(b, "go", args...)
	return text + "\n", err
}

// thousands writes 16384 as 16,384.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
