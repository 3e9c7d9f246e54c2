// Command compare measures lapidary and llama.cpp on the same model file, turn
// by turn in one run, and prints a table: the median of each side and their
// ratio, above 1 where lapidary is ahead.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"lapidary/hub"
)

// speeds are llama-bench's tests: tokens of a prompt, tokens generated, depth.
var speeds = []struct {
	name                 string
	prompt, gen, atDepth int
}{
	{"prefill, 512 tokens", 512, 0, 0},
	{"prefill, 4096 tokens", 4096, 0, 0},
	{"decode", 0, 128, 0},
	{"decode at depth 4096", 0, 64, 4096},
}

func main() {
	var c comparison
	flag.StringVar(&c.model, "model", "gemma3:270m-pt", "catalogue name or path of a GGUF `file`")
	flag.StringVar(&c.ours, "lapidary", "bin/lapidary", "the built `program`")
	flag.StringVar(&c.theirs, "peer", "", "`folder` of llama.cpp's programs; bench/peer.sh builds them if empty")
	flag.IntVar(&c.rounds, "rounds", 3, "`times` each side is measured")
	flag.IntVar(&c.threads, "threads", runtime.GOMAXPROCS(0), "`threads` of either side")
	flag.Parse()
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

type comparison struct {
	model, ours, theirs string
	rounds, threads     int
}

func (c *comparison) run() error {
	store, err := hub.Default()
	if err != nil {
		return err
	}
	local, err := store.Resolve(context.Background(), c.model)
	if err != nil {
		return err
	}
	c.model = local.Path
	if c.theirs == "" {
		out, err := output(exec.Command("bench/peer.sh"))
		if err != nil {
			return err
		}
		c.theirs = strings.TrimSpace(string(out))
	}
	fmt.Printf("%s, %d threads, median of %d\n\n", filepath.Base(c.model), c.threads, c.rounds)
	fmt.Println("| | lapidary | llama.cpp | ratio |\n|---|---|---|---|")
	for _, s := range speeds {
		if err := c.speed(s.name, "-p", itoa(s.prompt), "-n", itoa(s.gen), "-d", itoa(s.atDepth)); err != nil {
			return err
		}
	}
	return c.start()
}

func itoa(n int) string { return strconv.Itoa(n) }

// output runs a command and returns what it prints; what it complains of goes
// into the error.
func output(cmd *exec.Cmd) ([]byte, error) {
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd.Path, err, bytes.TrimSpace(complaints.Bytes()))
	}
	return out, nil
}

// speed measures one test on both sides, in turn.
func (c *comparison) speed(name string, test ...string) error {
	test = append(test, "-m", c.model, "-t", itoa(c.threads), "-r", "1", "-o", "json")
	var ours, theirs []float64
	for range c.rounds {
		for _, side := range []struct {
			speeds *[]float64
			cmd    *exec.Cmd
		}{
			{&ours, exec.Command(c.ours, append([]string{"bench"}, test...)...)},
			{&theirs, exec.Command(filepath.Join(c.theirs, "llama-bench"), test...)},
		} {
			out, err := output(side.cmd)
			if err != nil {
				return err
			}
			var results []struct {
				Speed float64 `json:"avg_ts"`
			}
			if err := json.Unmarshal(out, &results); err != nil || len(results) != 1 {
				return fmt.Errorf("%s printed no result: %w", side.cmd.Path, cmp.Or(err, fmt.Errorf("%d of them", len(results))))
			}
			*side.speeds = append(*side.speeds, results[0].Speed)
		}
	}
	o, t := median(ours), median(theirs)
	fmt.Printf("| %s | %.1f tok/s | %.1f tok/s | **%.2f** |\n", name, o, t, o/t)
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// start measures a whole process: load, a six-token prompt, one new token.
func (c *comparison) start() error {
	const prompt = "The capital of France is"
	var times, memory [2][]float64
	for range c.rounds {
		for i, cmd := range []*exec.Cmd{
			exec.Command(c.ours, "run", c.model, "--raw", "--temperature", "0", "--max-tokens", "1", "--threads", itoa(c.threads), prompt),
			exec.Command(filepath.Join(c.theirs, "llama-completion"), "-m", c.model, "-t", itoa(c.threads), "-n", "1", "--temp", "0", "-no-cnv", "-p", prompt),
		} {
			began := time.Now()
			if _, err := output(cmd); err != nil {
				return err
			}
			times[i] = append(times[i], time.Since(began).Seconds())
			memory[i] = append(memory[i], peak(cmd.ProcessState))
		}
	}
	o, t := median(times[0]), median(times[1])
	fmt.Printf("| process start to first token | %.2f s | %.2f s | **%.2f** |\n", o, t, t/o)
	if o, t = median(memory[0]), median(memory[1]); o > 0 {
		fmt.Printf("| peak resident memory | %.0f MiB | %.0f MiB | **%.2f** |\n", o, t, t/o)
	}
	return nil
}
