// Package engine is the vocabulary of operations the architecture is written
// in. Package gemma says what is computed, in these words; an engine decides
// how. There are few words, each as large as the architecture's own (a whole
// attention, a whole gated feed-forward), so that an engine is free to fuse.
//
// # Concepts
//
// An [Engine] binds stored tensors as [Weight]s and makes [Cache]s, the
// memories of sequences. A [Pass] runs the model once over a flat list of
// rows: the rows of any mix of sequences, described by [Span]s. One prompt, a
// batch of strangers and a draft being verified are the same thing to it.
//
// # Caveats
//
// A [Tensor] belongs to the pass that made it and dies with it. An operation
// may reuse the storage of its arguments where its comment says so. A Pass is
// used by one goroutine; passes of one engine may overlap.
//
// Every engine passes the suite in engine/enginetest, which compares it with
// engine/ref, the plain one.
package engine
