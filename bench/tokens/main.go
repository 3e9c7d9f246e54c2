// Command tokens measures lapidary's tokenizer and Hugging Face's tokenizers
// (Rust, through Python) on the same text with the same vocabulary, turn by
// turn, one thread each, and fails unless they agree on every id.
//
// The text is assembled from prose of many scripts, words made of the
// vocabulary's pieces, code of Go's standard library, emoji, numbers and runs of
// spaces; the same Go and the same vocabulary give the same text.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"lapidary/checkpoint"
	"lapidary/hub"
	"lapidary/tokenizer"
)

func main() {
	var o options
	flag.StringVar(&o.model, "model", "gemma3:270m-pt", "catalogue name or path of a GGUF `file`")
	flag.StringVar(&o.python, "python", "", "`program` that has the library; bench/tokenizers.sh installs it if empty")
	flag.IntVar(&o.rounds, "rounds", 5, "`times` each side is measured")
	flag.IntVar(&o.size, "size", 4<<20, "`bytes` of the text")
	flag.Parse()
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tokens:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

type options struct {
	model, python string
	rounds, size  int
}

func (o options) run(w io.Writer) error {
	if o.rounds < 1 || o.size < 1 {
		return fmt.Errorf("-rounds %d -size %d: want 1 or more", o.rounds, o.size)
	}
	runtime.GOMAXPROCS(1) // what collects garbage counts too
	store, err := hub.Default()
	if err != nil {
		return err
	}
	local, err := store.Resolve(context.Background(), o.model)
	if err != nil {
		return err
	}
	c, err := checkpoint.Open(local.Path)
	if err != nil {
		return err
	}
	defer c.Close()
	ours, err := load(c) // first: what is written below would count as memory
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "lapidary-tokens-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // temporary
	if err := vocabularyFile(c.Metadata(), filepath.Join(folder, "tokenizer.json")); err != nil {
		return fmt.Errorf("%s: %w", local.Path, err)
	}
	if o.python == "" {
		if o.python, err = output("bench/tokenizers.sh"); err != nil {
			return err
		}
	}
	return o.compare(w, ours, folder)
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w: %s", name, err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// compare measures both sides, in turn.
func (o options) compare(w io.Writer, ours loaded, folder string) error {
	goroot, err := output("go", "env", "GOROOT")
	if err != nil {
		return err
	}
	from, err := gather(ours.Tokenizer, "tokenizer/testdata/agreement.json", goroot)
	if err != nil {
		return err
	}
	documents := from.documents(o.size)
	theirs, err := startPeer(o.python, folder, documents)
	if err != nil {
		return err
	}
	var seconds [2][]float64
	encoded := make([][]tokenizer.Token, len(documents))
	for range o.rounds + 1 {
		began := time.Now()
		for i, d := range documents {
			encoded[i] = ours.Encode(d)
		}
		seconds[0] = append(seconds[0], time.Since(began).Seconds())
		s, err := theirs.encode()
		if err != nil {
			return err
		}
		seconds[1] = append(seconds[1], s)
	}
	other, err := theirs.finish()
	if err != nil {
		return err
	}
	var ids []int32
	for _, tokens := range encoded {
		ids = append(ids, tokenizer.IDs(tokens)...)
	}
	if at := difference(ids, other); at >= 0 {
		return fmt.Errorf("the ids differ from number %d on: %v, the peer has %v", at, around(ids, at), around(other, at))
	}
	mb := float64(len(strings.Join(documents, ""))) / 1e6
	fmt.Fprintf(w, "%.1f MB in %d documents, %d scripts, %d tokens, the same on both sides; one thread, median of %d\n\n",
		mb, len(documents), len(from.scripts), len(ids), o.rounds)
	report(w, ours, theirs, mb/median(seconds[0][1:]), mb/median(seconds[1][1:]))
	return nil
}

// report prints the table; speeds are in MB/s.
func report(w io.Writer, ours loaded, theirs *peer, speed, theirSpeed float64) {
	fmt.Fprintln(w, "| | lapidary | tokenizers | ratio |\n|---|---:|---:|---:|")
	fmt.Fprintf(w, "| encode | %.1f MB/s | %.1f MB/s | **%.2f** |\n", speed, theirSpeed, speed/theirSpeed)
	a, b := ours.load.Seconds()*1e3, theirs.load.Seconds()*1e3
	fmt.Fprintf(w, "| load, from GGUF and from tokenizer.json | %.0f ms | %.0f ms | **%.0f** |\n", a, b, b/a)
	a, b = ours.megabytes, float64(theirs.kilobytes)*1024/1e6
	fmt.Fprintf(w, "| memory of the vocabulary | %.1f MB | %.0f MB | **%.0f** |\n", a, b, b/a)
}

// loaded is a tokenizer and what loading it took, its index included.
type loaded struct {
	*tokenizer.Tokenizer
	load      time.Duration
	megabytes float64
}

func load(c *checkpoint.Checkpoint) (loaded, error) {
	before, began := heap(), time.Now()
	t, err := tokenizer.Open(c)
	if err != nil {
		return loaded{}, err
	}
	t.ID("a") // asks for the index
	took := time.Since(began)
	return loaded{t, took, heap() - before}, nil
}

// heap is the megabytes that are in use.
func heap() float64 {
	runtime.GC()
	runtime.GC() // pools give back what they hold at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// difference is the first place where two lists differ, or -1.
func difference(a, b []int32) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

// around is the ids near a place.
func around(ids []int32, at int) []int32 { return ids[min(at, len(ids)):min(at+8, len(ids))] }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
