package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lapidary"
	"lapidary/cmd/lapidary/internal/terminal"
	"lapidary/generate"
	"lapidary/hub"
)

func newRunCmd() *cobra.Command {
	f := &runFlags{}
	c := &cobra.Command{
		Use:   "run [MODEL] [PROMPT…]",
		Short: "Generate text, or chat",
		Long: `Generate text. A model that was tuned to chat answers the prompt, a base model
continues it. Without a prompt, in a terminal, run is a conversation.

MODEL is gemma3:270m-pt when the first argument cannot be a model's name. A model
that is not on this machine is pulled first. Text that is piped in is the prompt;
with a PROMPT as well it follows that after a blank line. One newline at its end is
dropped. Only the answer goes to standard output.

Pictures, sounds and videos go where <image>, <audio> and <video> stand in the prompt,
in order, or before it. Videos need the program ffmpeg, but for moving GIF and WebP. A
model that judges (ShieldGemma 2) tells whether a picture violates the policy that is
the prompt, or that it names, and how likely that is. A model that translates (T5Gemma)
is given the prompt to read, and writes what it makes of it.

--raw gives the model the prompt as it is: no chat template, control tokens such as
<start_of_turn> in it recognised, the token that begins a text put first.

How a token is chosen, in this order: penalties, temperature, top-k, top-p, min-p, a
draw. What is not set is as the model's makers recommend.

What an answer repeats of the text before it, as when a text is edited, is guessed
and verified several tokens at a time; --draft asks a smaller model for guesses too.
No answer changes by it; --speculate off leaves it out.`,
		Example: `  lapidary run gemma3:270m-pt "The capital of France is" --temperature 0 --max-tokens 20
  lapidary run gemma3:4b "Why is the sky blue?" --system "Answer in one sentence."
  cat report.txt | lapidary run gemma3:4b "Summarise this:"
  lapidary run ./model.gguf --raw "def fibonacci(n):" --stop "def" --json --logprobs 5
  lapidary run gemma3:4b "What is different in <image> and <image>?" --image a.jpg --image b.jpg
  lapidary run gemma4:e2b "Write down what is said." --audio speech.mp3
  lapidary run gemma3:12b "Write a poem." --draft gemma3:270m
  lapidary run tiny "The company said" --raw # built in: needs no network, makes no sense
  lapidary run gemma3:4b`,
		RunE: func(c *cobra.Command, args []string) error { return asMisuse(f.run(c, args)) },
	}
	f.register(c.Flags())
	return c
}

// asMisuse tells cobra's kind of error from a failure: a value that cannot be
// obeyed.
func asMisuse(err error) error {
	if errors.Is(err, generate.ErrParams) {
		return misuse("%w", err)
	}
	return err
}

// modelFlags are the flags of every command that opens a model.
type modelFlags struct {
	engine, cache    string
	threads, context int
	adapters         []string
}

func (f *modelFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.engine, "engine", lapidary.DefaultEngine, "what computes: "+strings.Join(lapidary.Engines(), " or "))
	fs.IntVar(&f.threads, "threads", 0, "threads that compute (default one for each core)")
	registerCache(fs, &f.cache)
	registerAdapters(fs, &f.adapters)
}

func (f *modelFlags) open(ctx context.Context, name string, more ...lapidary.Option) (*lapidary.Model, error) {
	adapters, err := adapterOptions(f.adapters)
	if err != nil {
		return nil, err
	}
	more = append(more, adapters...)
	if f.cache != "" {
		more = append(more, lapidary.WithCache(f.cache))
	}
	return lapidary.Open(ctx, name, append(more, lapidary.WithEngine(f.engine), lapidary.WithThreads(f.threads), lapidary.WithContext(f.context))...)
}

func registerCache(fs *pflag.FlagSet, cache *string) {
	fs.StringVar(cache, "cache", "", "keep keys and values in `PRECISION` "+strings.Join(lapidary.Caches(), " or ")+
		"; int8 takes half of f16's memory and changes answers a little (default f16, f32 for weights in f32)")
}

type runFlags struct {
	modelFlags
	sampling
	attachments
	raw, json, stats bool
	think            bool
	system           string
	speculate, draft string
}

func (f *runFlags) register(fs *pflag.FlagSet) {
	f.modelFlags.register(fs)
	fs.IntVar(&f.context, "context", 0, "tokens of prompt and answer together (default what the model was made for)")
	f.sampling.register(fs)
	f.attachments.register(fs)
	fs.BoolVar(&f.raw, "raw", false, "no chat template; control tokens in the prompt are recognised")
	fs.BoolVar(&f.think, "think", false, "think before answering, where the model can (Gemma 4); --json shows the thoughts")
	fs.StringVar(&f.system, "system", "", "text that says how to answer")
	fs.StringVar(&f.speculate, "speculate", lapidary.DefaultSpeculation, "guess tokens that are verified together: "+strings.Join(lapidary.Speculations(), " or "))
	fs.StringVar(&f.draft, "draft", "", "a smaller `MODEL` of the same vocabulary that guesses tokens")
	fs.BoolVar(&f.json, "json", false, "print one JSON document")
	fs.BoolVar(&f.stats, "stats", false, "tell the speed on standard error")
	fs.BoolVar(&f.stats, "verbose", false, "the same as --stats")
}

// request is what to generate from.
type request struct {
	model  string
	prompt string
	given  bool // there is a prompt, if an empty one
}

func (f *runFlags) run(c *cobra.Command, args []string) error {
	p := lapidary.Defaults()
	if err := f.apply(c.Flags(), &p); err != nil {
		return err
	}
	switch {
	case p.LogProbs != 0 && !f.json:
		return misuse("--logprobs needs --json: there is no other way to print them")
	case f.raw && f.system != "":
		return misuse("--system is part of the chat template, which --raw leaves out: write it into the prompt")
	case f.raw && f.think:
		return misuse("--think is part of the chat template, which --raw leaves out: leave out one of them")
	case f.raw && len(f.media) > 0:
		return misuse("--%s has its place in the template, which --raw leaves out: leave out one of them", f.media[0].Type)
	case c.Flags().Changed("draft") && f.speculate == lapidary.NoSpeculation:
		return misuse("--draft %s guesses tokens and --speculate off forbids it: leave one out", f.draft)
	}
	r, err := readRequest(c, args)
	if err != nil {
		return err
	}
	if !r.given && f.json {
		return misuse("--json needs a prompt: give PROMPT or pipe it in")
	}
	m, took, err := f.load(c, r.model)
	if err != nil {
		return err
	}
	defer m.Close()
	a := answer{load: took}
	if p, err = m.Params(); err != nil {
		return err
	}
	if err := f.apply(c.Flags(), &p); err != nil {
		return err
	}
	if !r.given && len(f.media) > 0 {
		return misuse("--%s needs a prompt that says what to do with it", f.media[0].Type)
	}
	if !r.given {
		return talk(c.Context(), m, terminal.Options{Params: p, System: f.system, Markdown: true, Stats: f.stats, Think: f.think})
	}
	if err := f.encode(c.Context(), m, &a, r.prompt, &p); err != nil {
		return interruption(c.Context(), err)
	}
	if m.Judges() {
		return f.judge(c, m, &a)
	}
	return f.print(c, m, &a, p)
}

// load opens the model and what drafts for it, pulled first if need be.
func (f *runFlags) load(c *cobra.Command, model string) (*lapidary.Model, time.Duration, error) {
	opts := []lapidary.Option{lapidary.WithSpeculation(f.speculate)}
	names := []string{model}
	if c.Flags().Changed("draft") {
		opts, names = append(opts, lapidary.WithDraft(f.draft)), append(names, f.draft)
	}
	names = append(names, remoteAdapters(f.adapters)...)
	for _, name := range names {
		if err := fetchMissing(c, name); err != nil {
			return nil, 0, err
		}
	}
	began := time.Now()
	if !f.raw {
		opts = append(opts, lapidary.WithChat())
	}
	m, err := f.open(c.Context(), model, opts...)
	return m, time.Since(began), err
}

// readRequest finds the model and the prompt among arguments and pipe.
func readRequest(c *cobra.Command, args []string) (request, error) {
	r := request{model: hub.DefaultModel()}
	if len(args) > 0 {
		is, err := isModel(c.Context(), args[0])
		if err != nil {
			return r, err
		}
		if is {
			r.model, args = args[0], args[1:]
		}
	}
	r.prompt, r.given = strings.Join(args, " "), len(args) > 0
	piped, err := readPipe(c)
	if err != nil {
		return r, err
	}
	piped = strings.TrimSuffix(strings.TrimSuffix(piped, "\n"), "\r")
	switch {
	case piped == "":
	case r.given:
		r.prompt += "\n\n" + piped
	default:
		r.prompt, r.given = piped, true
	}
	if !r.given && (!isTerminal(c.InOrStdin()) || !isTerminal(c.OutOrStdout())) {
		return r, misuse("there is no prompt: give PROMPT or pipe it in")
	}
	return r, nil
}

// isModel tells a model's name from the first words of a prompt. What could be
// a name and is none is an error: a misspelt name should not be answered by
// another model.
func isModel(ctx context.Context, arg string) (bool, error) {
	store, err := hub.Default()
	if err != nil {
		return false, err
	}
	_, err = store.Resolve(ctx, arg)
	switch {
	case err == nil || errors.Is(err, hub.ErrNotPulled):
		return true, nil
	case strings.ContainsFunc(arg, unnameable):
		return false, nil
	case errors.Is(err, hub.ErrUnknown):
		return false, fmt.Errorf("%w; if %q is a prompt, name a model before it", err, arg)
	}
	return false, err
}

// unnameable are the characters no catalogue name, source or ordinary path has.
func unnameable(r rune) bool {
	return unicode.IsSpace(r) || r > unicode.MaxASCII || strings.ContainsRune(`?!,;"'()`, r)
}

// maxPipe bounds what is read as a prompt: no context holds so much text.
const maxPipe = 64 << 20

// readPipe reads standard input unless it is a terminal or nothing at all. A
// pipe that nobody closes is waited for, so somebody should know.
func readPipe(c *cobra.Command) (string, error) {
	in := c.InOrStdin()
	if f, ok := in.(*os.File); ok {
		fi, err := f.Stat()
		if err != nil || fi.Mode()&os.ModeCharDevice != 0 {
			return "", nil
		}
	}
	waiting := time.AfterFunc(2*time.Second, func() {
		fmt.Fprintln(c.ErrOrStderr(), "lapidary: waiting for the end of standard input; if it holds nothing, add: </dev/null")
	})
	defer waiting.Stop()
	var text []byte
	done := make(chan error, 1)
	go func() {
		var err error
		text, err = io.ReadAll(io.LimitReader(in, maxPipe+1))
		done <- err
	}()
	select {
	case <-c.Context().Done():
		return "", interruption(c.Context(), c.Context().Err())
	case err := <-done:
		if err != nil {
			return "", fmt.Errorf("standard input: %w", err)
		}
	}
	if len(text) > maxPipe {
		return "", fmt.Errorf("standard input has more than %d MB, which no model's context holds", maxPipe>>20)
	}
	return string(text), nil
}

// fetchMissing pulls a model that is not on this machine.
func fetchMissing(c *cobra.Command, name string) error {
	store, err := hub.Default()
	if err != nil {
		return err
	}
	if _, err = store.Resolve(c.Context(), name); !errors.Is(err, hub.ErrNotPulled) {
		return err
	}
	bars := newBars(c.ErrOrStderr())
	l, err := store.Pull(c.Context(), name, bars)
	bars.close(err == nil)
	if err == nil && bars.show && l.Licence.Name != "" {
		fmt.Fprintf(c.ErrOrStderr(), "licence: %s  %s\n", l.Licence.Name, l.Licence.URL)
	}
	return err
}
