// Package lapidary runs Google's Gemma models inside a Go program: no Python,
// no C, no service beside it.
//
// # A first answer
//
// [Open] takes a model by name, [Model.Generate] continues a text, token by
// token:
//
//	m, err := lapidary.Open(ctx, "gemma3:270m-pt", lapidary.WithPull(nil))
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	p := lapidary.Defaults()
//	p.MaxTokens = 100
//	for t, err := range m.Generate(ctx, "Once upon a time", p) {
//		if err != nil {
//			return err
//		}
//		fmt.Print(t.Text)
//	}
//
// "tiny" in place of the name needs no download: it is built in, 2.3 MB large,
// and shows how everything works. What it says is nonsense.
//
// # Concepts
//
// A model's name is a catalogue name, a path, or a source such as
// "hf:org/repo"; package hub finds it in the store of this machine. Nothing is
// downloaded unless [WithPull] says so. Its weights are mapped into memory and
// used as they are stored, quantised ones too.
//
// A base model ("gemma3:270m-pt") completes text: [Model.Generate]. A model
// that was tuned to chat answers messages: [Model.Chat] writes them out the way
// the model was trained to read them, and what a message says can never be
// taken for the marks between turns. For several turns [Model.NewSession]
// keeps what was read, so that each answer starts where the last one ended.
//
// [Params] say how to choose tokens and when to stop. An option that is
// accepted is obeyed; one that cannot be is refused with an error that wraps
// [generate.ErrParams]. The last [Token] of an answer says in its End why it
// ended and how long it took. Text comes in valid UTF-8 and never holds a part
// of a stop string.
//
// What an answer repeats of the text before it is guessed and verified several
// tokens at a time, which changes no answer: [WithSpeculation]; a smaller model
// can guess too: [WithDraft].
//
// [Model.Score] tells how likely the model finds a given text, token by token;
// [Model.Perplexity] measures that over a file, [Model.Bench] how fast it is.
//
// # Caveats
//
// A prompt that is longer than the model's context is refused
// ([generate.ErrContext]), never cut in silence; [Params.ContextShift] allows
// dropping the older half and tells how much was dropped. Every running answer
// has its own memory of keys and values: about 18 kB a token for Gemma 3 270M
// in half precision, of which sliding windows give most back. A Model may be
// used by many goroutines, a [Session] by one at a time.
package lapidary
