// Command compare measures lapidary and llama.cpp on the same model file, turn
// by turn in one run, and writes what it measures into docs/performance.md: of
// each test the median of either side and their ratio, above 1 where lapidary is
// ahead.
//
//	go run ./bench/compare                       everything, half an hour
//	go run ./bench/compare -quick -only compare  a glance, printed only
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"

	"lapidary/hub"
)

func main() {
	o := defaults()
	flag.StringVar(&o.model, "model", o.model, "catalogue name or path of a GGUF `file`")
	flag.StringVar(&o.ours, "lapidary", o.ours, "the built `program`")
	flag.StringVar(&o.theirs, "peer", o.theirs, "`folder` of llama.cpp's programs; bench/peer.sh builds them if empty")
	flag.StringVar(&o.peerAVX2, "peer-avx2", o.peerAVX2, "`folder` of llama.cpp for AVX2, for instructions; build lets bench/peer.sh build it")
	flag.IntVar(&o.rounds, "rounds", o.rounds, "`times` each side is measured (default 5, quick 1)")
	flag.IntVar(&o.threads, "threads", o.threads, "`threads` of either side")
	flag.StringVar(&o.only, "only", o.only, "sections, separated by commas: "+strings.Join(sectionNames(), ", "))
	flag.BoolVar(&o.quick, "quick", o.quick, "fewer and shorter tests, which are printed and not written")
	flag.StringVar(&o.page, "page", o.page, "`file` into which the sections are written")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

type options struct {
	model, ours, theirs, peerAVX2, only, page string
	quick                                     bool
	rounds, threads                           int
}

func defaults() options {
	return options{model: "gemma3:270m-pt", ours: "bin/lapidary", threads: runtime.GOMAXPROCS(0), page: "docs/performance.md"}
}

// run measures the sections that are asked for. Each is printed and written
// when it is done, so that an interruption loses only the one it is in.
func (o options) run(ctx context.Context, w io.Writer) error {
	wanted, err := o.sections()
	if err != nil {
		return err
	}
	b, err := o.bench(ctx)
	if err != nil {
		return err
	}
	for _, s := range wanted {
		text, err := s.measure(b)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if !s.alone {
			text += "\n" + b.about() + "\n"
		}
		fmt.Fprintf(w, "## %s\n\n%s\n", s.name, text)
		if o.quick {
			continue
		}
		if err := writeSection(o.page, s.name, text); err != nil {
			return err
		}
	}
	return nil
}

// bench makes ready what sections need.
func (o options) bench(ctx context.Context) (*bench, error) {
	store, err := hub.Default()
	if err != nil {
		return nil, err
	}
	local, err := store.Resolve(ctx, o.model)
	if err != nil {
		return nil, err
	}
	if o.theirs == "" {
		if o.theirs, err = line(ctx, "bench/peer.sh"); err != nil {
			return nil, err
		}
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 1
		}
	}
	if o.rounds < 1 || o.threads < 1 {
		return nil, fmt.Errorf("-rounds %d -threads %d: want 1 or more", o.rounds, o.threads)
	}
	b := &bench{Context: ctx, options: o, file: local.Path}
	b.sides = []*side{lapidary(o.ours, ""), llama(o.theirs)}
	return b, nil
}

// sections are those named by -only, in their own order.
func (o options) sections() ([]section, error) {
	if o.only == "" {
		return sections, nil
	}
	names := strings.Split(o.only, ",")
	for _, name := range names {
		if !slices.Contains(sectionNames(), name) {
			return nil, fmt.Errorf("-only %s: there is no such section; there are %s", name, strings.Join(sectionNames(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(sections), func(s section) bool { return !slices.Contains(names, s.name) }), nil
}
