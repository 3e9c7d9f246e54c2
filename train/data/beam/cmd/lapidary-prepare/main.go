// Command lapidary-prepare prepares data for training on Apache Beam.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	sdk "github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal"
	"go.yaml.in/yaml/v4"

	"lapidary/train/data"
	"lapidary/train/data/beam"
)

const usage = `Prepare training data: tokens, duplicates left out, caches and a manifest.

Usage:
  lapidary-prepare --model MODEL --folder FOLDER [flags] SOURCES.yaml

SOURCES.yaml is a list of sources as a recipe has it. Flags of Beam's runners
(--endpoint, --environment_type, …) are taken as well.

Examples:
  lapidary-prepare --model m.gguf --folder prepared --near 0.8 sources.yaml
  lapidary-prepare --runner universal --endpoint localhost:8099 --model /shared/m.gguf --folder /shared/prepared sources.yaml

Flags:
`

func main() {
	var j beam.Job
	runner := flag.String("runner", "prism", "prism: on this machine; universal: the job service at --endpoint")
	flag.StringVar(&j.Model, "model", "", "path of the checkpoint whose tokenizer is used")
	flag.StringVar(&j.Template, "template", "", "built-in chat template to use instead of the checkpoint's")
	flag.StringVar(&j.Folder, "folder", "", "folder for the result")
	flag.BoolVar(&j.Dedup.Exact, "exact", true, "leave exact duplicates out")
	flag.Float64Var(&j.Dedup.Near, "near", 0, "leave out documents that resemble an earlier one by this much; 0: none")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	log.SetupLogging("warn", "text") //nolint:forbidigo // the runner logs by itself, and is told to say less
	sdk.Init()
	if flag.NArg() != 1 || j.Model == "" || j.Folder == "" {
		fmt.Fprintln(os.Stderr, "lapidary-prepare: give --model, --folder and one file of sources; --help shows an example")
		os.Exit(2) //nolint:forbidigo // this is main
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *runner, j, flag.Arg(0))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lapidary-prepare:", strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// run prepares the sources of a file and prints what came of it.
func run(ctx context.Context, runner string, j beam.Job, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.Load(b, &j.Sources, yaml.WithKnownFields()); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := beam.Run(ctx, runner, j); err != nil {
		return err
	}
	set, err := data.Open(j.Folder)
	if err != nil {
		return err
	}
	defer set.Close()
	r := set.Report()
	return r.Text(os.Stdout)
}
