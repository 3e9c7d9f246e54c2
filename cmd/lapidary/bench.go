package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapidary"
	"lapidary/hub"
)

type benchFlags struct {
	models                         []string
	prompt, generate, depth, procs numbers
	repetitions                    int
	format, engine, cache          string
	noWarmup, json                 bool
}

func newBenchCmd() *cobra.Command {
	f := &benchFlags{prompt: numbers{512}, generate: numbers{128}, depth: numbers{0}, procs: numbers{0}}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure speed, as llama-bench does",
		Long: `Measure speed with llama-bench's flags, meaning and JSON, so that figures can be laid
side by side. A test of -p evaluates so many random tokens together, in pieces of 512
with the logits of the last; a test of -n evaluates so many one by one. Before either
the cache holds -d tokens, outside the time. Each test has a warm-up and -r repetitions.

Flags take several values: 128,512 or 128-512+128 or 128-1024*2.`,
		Example: `  lapidary bench
  lapidary bench -m ./model.gguf -p 512,4096 -n 128 -d 0,4096 -t 1,2 -r 3
  lapidary bench -m gemma3:270m-pt -p 0 -n 64 -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return asMisuse(interruption(c.Context(), f.run(c.Context(), c.OutOrStdout())))
		},
	}
	fs := c.Flags()
	fs.StringSliceVarP(&f.models, "model", "m", nil, "model (default the one that run takes)")
	fs.VarP(&f.prompt, "n-prompt", "p", "tokens of the prompt tests; 0 leaves them out")
	fs.VarP(&f.generate, "n-gen", "n", "tokens of the generation tests; 0 leaves them out")
	fs.VarP(&f.depth, "n-depth", "d", "tokens in the cache before")
	fs.VarP(&f.procs, "threads", "t", "threads; 0 is one for each core")
	fs.IntVarP(&f.repetitions, "repetitions", "r", 5, "repetitions of each test")
	fs.StringVarP(&f.format, "output", "o", "md", "json or md")
	fs.BoolVar(&f.json, "json", false, "the same as -o json")
	fs.BoolVar(&f.noWarmup, "no-warmup", false, "leave out the warm-ups")
	fs.StringVar(&f.engine, "engine", lapidary.DefaultEngine, "what computes: "+strings.Join(lapidary.Engines(), " or "))
	registerCache(fs, &f.cache)
	c.MarkFlagsMutuallyExclusive("json", "output")
	return c
}

// numbers is a flag of several values; the first use replaces the default.
type numbers []int

func (n *numbers) Type() string { return "ints" }

func (n *numbers) String() string {
	words := make([]string, len(*n))
	for i, v := range *n {
		words[i] = strconv.Itoa(v)
	}
	return strings.Join(words, ",")
}

func (n *numbers) Set(s string) error {
	var all numbers
	for part := range strings.SplitSeq(s, ",") {
		some, err := parseRange(part)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	*n = all
	return nil
}

// maxTests keeps a mistyped range from asking for tests without end.
const maxTests = 1000

// parseRange reads a number, or first-last, first-last+step, first-last*factor.
func parseRange(s string) (numbers, error) {
	ends, step, factor := s, 1, 1
	var err error
	if before, after, ok := strings.Cut(s, "*"); ok {
		ends, step = before, 0
		factor, err = strconv.Atoi(after)
	} else if before, after, ok := strings.Cut(s, "+"); ok {
		ends = before
		step, err = strconv.Atoi(after)
	}
	from, to, isRange := strings.Cut(ends, "-")
	if !isRange {
		to = from
	}
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	switch {
	case err != nil || err1 != nil || err2 != nil || !isRange && ends != s:
		return nil, fmt.Errorf("%q is no number, nor a range such as 128-512+128", s)
	case last < first || step < 1 && factor < 2 || factor > 1 && first < 1:
		return nil, fmt.Errorf("the range %q does not go up", s)
	}
	var all numbers
	for v := first; v <= last; v = v*factor + step {
		if all = append(all, v); len(all) > maxTests {
			return nil, fmt.Errorf("the range %q has more than %d values", s, maxTests)
		}
	}
	return all, nil
}

func (f *benchFlags) run(ctx context.Context, w io.Writer) error {
	if f.json {
		f.format = "json"
	}
	if f.format != "json" && f.format != "md" {
		return misuse("-o %s: want json or md", f.format)
	}
	if f.repetitions < 1 {
		return misuse("-r %d: want 1 or more", f.repetitions)
	}
	if len(f.models) == 0 {
		f.models = []string{hub.DefaultModel()}
	}
	all := []benchJSON{}
	for _, model := range f.models {
		for _, threads := range f.procs {
			some, err := f.measure(ctx, model, threads)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
	}
	if f.format == "json" {
		return printJSON(w, all)
	}
	return printBenchTable(w, all)
}

// measure runs all tests of one model on so many threads.
func (f *benchFlags) measure(ctx context.Context, model string, threads int) ([]benchJSON, error) {
	open := modelFlags{engine: f.engine, cache: f.cache, threads: threads}
	m, err := open.open(ctx, model)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	about := aboutModel(m)
	var all []benchJSON
	for _, b := range f.tests() {
		began := time.Now()
		times, err := m.Bench(ctx, b)
		if err != nil {
			return nil, err
		}
		j := about
		j.Prompt, j.Gen, j.Depth, j.Time = b.Prompt, b.Generate, b.Depth, began.UTC().Format(time.RFC3339)
		j.add(times)
		all = append(all, j)
	}
	return all, nil
}

func (f *benchFlags) tests() []lapidary.Bench {
	var all []lapidary.Bench
	for _, d := range f.depth {
		b := lapidary.Bench{Depth: d, Repetitions: f.repetitions, NoWarmup: f.noWarmup}
		for _, b.Prompt = range f.prompt {
			if b.Prompt != 0 {
				all = append(all, b)
			}
		}
		b.Prompt = 0
		for _, b.Generate = range f.generate {
			if b.Generate != 0 {
				all = append(all, b)
			}
		}
	}
	return all
}

// benchJSON is one test as llama-bench prints it.
type benchJSON struct {
	Commit     string    `json:"build_commit"`
	Number     int       `json:"build_number"`
	CPU        string    `json:"cpu_info"`
	GPU        string    `json:"gpu_info"`
	Backends   string    `json:"backends"`
	File       string    `json:"model_filename"`
	Type       string    `json:"model_type"`
	Size       int64     `json:"model_size"`
	Parameters int64     `json:"model_n_params"`
	Batch      int       `json:"n_batch"`
	Threads    int       `json:"n_threads"`
	Prompt     int       `json:"n_prompt"`
	Gen        int       `json:"n_gen"`
	Depth      int       `json:"n_depth"`
	Time       string    `json:"test_time"`
	AvgNS      int64     `json:"avg_ns"`
	StdDevNS   int64     `json:"stddev_ns"`
	AvgTS      float64   `json:"avg_ts"`
	StdDevTS   float64   `json:"stddev_ts"`
	SamplesNS  []int64   `json:"samples_ns"`
	SamplesTS  []float64 `json:"samples_ts"`
}

func aboutModel(m *lapidary.Model) benchJSON {
	i := m.Info()
	size := fmt.Sprintf("%.0fM", float64(i.Parameters)/1e6)
	if meta := m.Checkpoint().Metadata(); meta != nil {
		if label, ok := meta.String("general.size_label"); ok {
			size = label
		}
	}
	return benchJSON{Commit: commit(), CPU: cpuName(), Backends: strings.ToUpper(i.Engine),
		File: i.Path, Type: strings.Join([]string{i.Family, size, llamaFormat(mainType(m.Checkpoint()))}, " "),
		Size: i.Bytes, Parameters: i.Parameters, Batch: lapidary.MaxRows, Threads: m.Threads()}
}

// llamaFormat spells a mixture of formats as llama-bench does: Q4_K - Medium.
func llamaFormat(name string) string {
	for suffix, word := range map[string]string{"_K_S": "Small", "_K_M": "Medium", "_K_L": "Large"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base + "_K - " + word
		}
	}
	return name
}

// add fills in the figures of the repetitions.
func (j *benchJSON) add(times []time.Duration) {
	var ns []float64
	for _, d := range times {
		ns = append(ns, float64(d))
		j.SamplesNS = append(j.SamplesNS, int64(d))
		j.SamplesTS = append(j.SamplesTS, float64(j.Prompt+j.Gen)/d.Seconds())
	}
	mean, dev := meanAndDeviation(ns)
	j.AvgNS, j.StdDevNS = int64(mean), int64(dev)
	j.AvgTS, j.StdDevTS = meanAndDeviation(j.SamplesTS)
}

func meanAndDeviation(v []float64) (mean, dev float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	if len(v) < 2 {
		return mean, 0
	}
	for _, x := range v {
		dev += (x - mean) * (x - mean) / float64(len(v)-1)
	}
	return mean, math.Sqrt(dev)
}

func printBenchTable(w io.Writer, all []benchJSON) error {
	rows := [][]string{{"model", "size", "params", "backend", "threads", "test", "t/s"}}
	for _, j := range all {
		test := fmt.Sprintf("pp%d", j.Prompt)
		if j.Prompt == 0 {
			test = fmt.Sprintf("tg%d", j.Gen)
		}
		if j.Depth > 0 {
			test += fmt.Sprintf(" @ d%d", j.Depth)
		}
		rows = append(rows, []string{j.Type, fmt.Sprintf("%.2f MiB", float64(j.Size)/(1<<20)), fmt.Sprintf("%.2f M", float64(j.Parameters)/1e6),
			j.Backends, strconv.Itoa(j.Threads), test, fmt.Sprintf("%.2f ± %.2f", j.AvgTS, j.StdDevTS)})
	}
	for i, row := range rows {
		fmt.Fprintf(w, "| %-30s | %10s | %10s | %-7s | %7s | %15s | %20s |\n", row[0], row[1], row[2], row[3], row[4], row[5], row[6])
		if i == 0 {
			fmt.Fprintf(w, "| %s | %s: | %s: | %s | %s: | %s: | %s: |\n", dashes(30), dashes(9), dashes(9), dashes(7), dashes(6), dashes(14), dashes(19))
		}
	}
	_, err := fmt.Fprintf(w, "\n%s, build %s\n", cpuName(), commit())
	return err
}

func dashes(n int) string { return strings.Repeat("-", n) }

// commit is the revision the program was built from.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(9, len(s.Value))]
			}
		}
	}
	return "unknown"
}

// cpuName is what the processor calls itself.
func cpuName() string {
	switch runtime.GOOS {
	case "linux":
		info, _ := os.ReadFile("/proc/cpuinfo")
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	case "darwin":
		if out, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
			return strings.TrimSpace(string(out))
		}
	case "windows":
		if name := os.Getenv("PROCESSOR_IDENTIFIER"); name != "" {
			return name
		}
	}
	return runtime.GOARCH
}
