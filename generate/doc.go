// Package generate turns logits into text.
//
// # Concepts
//
// [Generate] continues a prompt token by token: it evaluates the prompt in
// pieces of at most [gemma.MaxRows] tokens, lets a [Sampler] choose, and yields
// each [Token] as it comes. [Params] say how to choose and where to end; a
// value that cannot be obeyed is refused. [Score] measures how likely a model
// finds a given text, and [Perplexity] does so over a file.
//
// # Text
//
// Tokens are bytes, and a character or a stop string may be spread over
// several. What is yielded is always valid UTF-8 and never a part of a stop
// string; what is held back is exactly what could still become either. Bytes
// that turn out to be no character are given as U+FFFD. Control tokens have no
// text.
//
// # Speculation
//
// [Speculate] is Generate with a [Drafter], which guesses tokens that are then
// evaluated in one pass: [NGrams] looks up how the text went on before,
// [ModelDrafter] asks a smaller model. A guess counts where the sampler chooses
// the same, so answers stay what they are; docs/speculation.md says what it
// gains.
//
// # Caveats
//
// The token chosen last is not evaluated: a generation of n tokens takes n-1
// steps after its prompt. Nothing is dropped from a prompt unless
// [Params.ContextShift] allows it.
package generate
