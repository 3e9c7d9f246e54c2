// Scenes draws pictures of coloured shapes and writes questions about them, for
// training and for testing a model that sees.
//
// Every example comes from the seed alone: the same flags give the same bytes.
// No picture of one part is in another part.
//
//	go run ./recipes/seeing/scenes --out data/scenes
//	go run ./recipes/seeing/scenes --kind statements --out data/statements
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	o := options{}
	flags := flag.NewFlagSet("scenes", flag.ContinueOnError)
	flags.StringVar(&o.kind, "kind", "questions", "questions (one canvas, short answers) or statements (three boxes, true or false)")
	flags.StringVar(&o.out, "out", "", "the folder to write to")
	flags.Uint64Var(&o.seed, "seed", 1, "decides every picture")
	flags.IntVar(&o.train, "train", 20000, "examples for training")
	flags.IntVar(&o.validation, "validation", 500, "examples for validation")
	flags.IntVar(&o.test, "test", 1000, "examples for the test")
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2) //nolint:forbidigo // this is main; flags has said why
	}
	if err := o.check(flags.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "scenes:", err)
		os.Exit(2) //nolint:forbidigo // this is main
	}
	if err := o.write(); err != nil {
		fmt.Fprintln(os.Stderr, "scenes:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

type options struct {
	kind, out               string
	seed                    uint64
	train, validation, test int
}

// mostExamples bounds a part, so that a slip of the finger does not fill a disk.
const mostExamples = 1_000_000

func (o options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected %q: everything is said by flags", strings.Join(rest, " "))
	case o.out == "":
		return errors.New("no folder to write to: give --out FOLDER")
	case makers[o.kind] == nil:
		return fmt.Errorf("--kind %q is not known: questions or statements", o.kind)
	}
	for _, n := range []int{o.train, o.validation, o.test} {
		if n < 0 || n > mostExamples {
			return fmt.Errorf("%d examples in a part: 0 to %d are possible", n, mostExamples)
		}
	}
	return nil
}
