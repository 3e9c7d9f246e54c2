// Package gemma is the architecture of the Gemma family, written once in the
// words of package engine.
//
// # Concepts
//
// A [Config] is the architecture as data: the model's own sizes and a list of
// [Layer]s, each of which says what mixes the positions (attention with its
// window, heads and rotary base) and what feeds forward. A file's metadata
// expands into that list when it is read ([ReadConfig]); the blocks that run
// it know no family names. So a new Gemma is a new expansion.
//
// A [Model] is a Config with its weights bound to an engine. [Model.Forward]
// takes [Step]s, each a run of tokens that continues one sequence, and gives
// logits for the rows that ask for them.
//
// # Shapes
//
// R rows of a pass (tokens of all steps), D width, H query heads, K key-value
// heads, C head size, F feed-forward width, V vocabulary.
//
// # Sources
//
// Gemma (arXiv:2403.08295), Gemma 2 (arXiv:2408.00118), Gemma 3
// (arXiv:2503.19786) and their configurations as published on Hugging Face.
//
// # Caveats
//
// A Model may be used by several goroutines; a Cache belongs to one Forward at
// a time. A step may be of any length that fits the model's context, but
// activations grow with the rows of a pass: keep passes at [MaxRows] or below.
package gemma
