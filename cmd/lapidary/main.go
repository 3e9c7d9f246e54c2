// Lapidary runs Google's Gemma models on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes. Scripts tell a failure from a mistyped command by them.
const (
	exitFailure     = 1
	exitMisuse      = 2
	exitInterrupted = 130 // as shells report a program that Ctrl-C ended
)

func main() { os.Exit(run(os.Args[1:])) }

// run is the program: the first Ctrl-C asks it to stop, which leaves
// downloads to be gone on with; the second ends it at once.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var f *failure
	if !errors.As(err, &f) {
		report(os.Stderr, fmt.Errorf("%w; see: %s --help", err, c.CommandPath()))
		return exitMisuse
	}
	report(os.Stderr, err)
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailure
	}
}

// report writes an error as one line, whatever it is made of.
func report(w io.Writer, err error) {
	line := strings.Join(strings.Fields(err.Error()), " ")
	fmt.Fprintln(w, "lapidary:", line)
}
