// Package gemma is the architecture of the Gemma family, written once in the
// words of package engine.
//
// # Concepts
//
// A [Config] is the architecture as data: the model's own sizes and a list of
// [Layer]s, each of which says what mixes the positions (attention with its
// window, heads and rotary base, or a recurrence) and what feeds forward (one
// network, or experts). A file's metadata expands into that list when it is
// read ([ReadConfig]); the blocks that run it know no family names. So a new
// Gemma is a new expansion. Encoders and the towers that look at pictures are
// stacks of the same blocks; conformers, which listen, are not.
//
// A [Model] is a Config with its weights bound to an engine. [Model.Forward]
// takes [Step]s, each a run of tokens that continues one sequence, and gives
// logits for the rows that ask for them. [Soft] tokens are rows that take the
// place of a token's embedding: [Model.Pictures] and [Model.Sounds] make them
// of what towers take.
//
// What a model can do beside that is asked of the Model: [Model.Source] reads
// what a decoder answers to, [Model.Hidden] and [Model.Embed] stop at the
// vectors, [Model.Classify] and [Model.Verdict] at classes. A [Drafter] is an
// assistant that reads its target's memory, and [Model.Denoise] the step of a
// model that writes in blocks.
//
// # Shapes
//
// R rows of a pass (tokens of all steps), D width, H query heads, K key-value
// heads, C head size, F feed-forward width, V vocabulary, E experts, S rows of
// a source.
//
// # Sources
//
// Gemma (arXiv:2403.08295), Gemma 2 (arXiv:2408.00118), Gemma 3
// (arXiv:2503.19786), Griffin and RecurrentGemma (arXiv:2402.19427,
// arXiv:2404.07839), PaliGemma (arXiv:2407.07726, arXiv:2412.03555), SigLIP
// (arXiv:2303.15343), T5Gemma (arXiv:2504.06225, arXiv:2512.14856), AltUp
// (arXiv:2301.13310), LAuReL (arXiv:2411.07501), conformers (arXiv:2005.08100,
// arXiv:2303.01037), EmbeddingGemma (arXiv:2509.20354), VaultGemma
// (arXiv:2510.15001); for Gemma 3n, Gemma 4 and DiffusionGemma their model
// cards and their published configurations.
//
// # Caveats
//
// A Model may be used by several goroutines; a Cache belongs to one Forward at
// a time. A step may be of any length that fits the model's context, but
// activations grow with the rows of a pass: keep passes at [MaxRows] or below.
package gemma
