package engine

import (
	"context"

	"lapidary/checkpoint"
)

// Tensor is an activation inside a pass: rows of float32 as far as a caller
// can tell, whatever the engine keeps. It is valid until the pass ends.
type Tensor interface {
	// Dims is the shape, outermost first. Activations are [R, width].
	Dims() (rows, width int)
}

// Weight is a parameter bound to an engine.
type Weight interface {
	// Dims is the shape, outermost first: a linear layer is [outputs, inputs].
	Dims() (rows, cols int)
}

// Engine makes weights, memories and passes. One engine serves one model or
// several; its methods may be called concurrently, a Pass may not.
type Engine interface {
	// Name is what --engine calls it: "cpu", "ref".
	Name() string
	// Load binds a stored tensor. The engine may keep referring to t.Data,
	// which must then outlive it.
	Load(t checkpoint.Tensor) (Weight, error)
	// NewCache makes the empty memory of one sequence.
	NewCache(layers []CacheLayer) Cache
	// Begin starts a pass over the rows of the given spans, in order.
	// A cancelled context makes the pass's End return its error.
	Begin(ctx context.Context, spans []Span) Pass
	// Close stops the engine's threads. Weights and caches die with it.
	Close() error
}

// CacheLayer is what one layer keeps of a sequence.
type CacheLayer struct {
	KVHeads, HeadSize int
	// Window is how many positions back a row can look, itself included;
	// 0 keeps everything.
	Window int
	// Keep is how far an engine may round keys and values.
	Keep Precision
	// Shared is 0 for a layer with its own memory; n > 0 reads the memory of
	// the layer n places before and keeps none.
	Shared int
}

// Precision is what a memory keeps keys and values in. An engine may keep more
// than it is asked for, never less.
type Precision uint8

// The precisions.
const (
	Half  Precision = iota // float16: half the memory, and logits move by about 1e-3
	Exact                  // float32, as they come
	// Int8 keeps for each head of a position a float32 scale, a 127th of the
	// greatest magnitude, and integers of −127 to 127 that are multiplied by it:
	// half the memory of Half, and logits move by about 2e-2.
	Int8
)

// Cache is the memory of one sequence. It grows when a pass with its span
// ends without error; a pass that fails leaves it as it was.
type Cache interface {
	// Len is the number of positions held.
	Len() int
	// Truncate forgets the positions from n on. It fails when a sliding window
	// has already dropped what the next row, at position n, would see; a cache
	// can always be emptied.
	Truncate(n int) error
	// Bytes is the memory held now.
	Bytes() int64
	// Close returns the memory.
	Close()
}

// Span is a run of consecutive rows of one sequence. They take the positions
// Cache.Len(), Cache.Len()+1, … A nil Cache stands for a sequence that starts
// at position 0 and is forgotten when the pass ends.
type Span struct {
	Cache Cache
	Rows  int
}

// Pass is the vocabulary: the operations the architecture is written in.
// Shapes: R rows of the pass, D model width, H query heads, K key-value heads,
// C head size, F feed-forward width, V vocabulary.
//
// Operations do not return errors: the shapes they are given were checked when
// the model was loaded, and a mismatch panics as an index out of range would.
// What can fail in a sound program (a cancelled context) is reported by End.
//
// Heads, Gate, Add and SoftCap consume their first argument: its storage
// becomes the result's, and it must not be used again.
type Pass interface {
	// Embed gathers rows of table [V, D] and multiplies them by scale → [R, D].
	Embed(table Weight, ids []int32, scale float32) Tensor
	// Norm is RMSNorm over the width → [R, D].
	Norm(x Tensor, n Norm) Tensor
	// Linear multiplies x [R, in] by each of the weights [out, in] → [R, out].
	// Several weights at once let an engine prepare x once.
	Linear(x Tensor, ws ...Weight) []Tensor
	// Heads norms and rotates each head of x [R, heads·C] → same shape.
	Heads(x Tensor, h Heads) Tensor
	// Attend stores k and v [R, K·C] in the sequences' memories and lets each
	// row of q [R, H·C] see its own past → [R, H·C]. Nil k and v read the
	// memory of another layer (CacheLayer.Shared); a nil q stores only → nil.
	Attend(q, k, v Tensor, a Attend) Tensor
	// Gate is act(gate) · up → [R, F].
	Gate(gate, up Tensor, act Activation) Tensor
	// Add is x + y → [R, D].
	Add(x, y Tensor) Tensor
	// Pick keeps the given rows, in ascending order → [len(rows), D].
	Pick(x Tensor, rows []int) Tensor
	// SoftCap is limit · tanh(x / limit), elementwise.
	SoftCap(x Tensor, limit float32) Tensor

	// Keep releases every tensor made so far but x. A block ends with it, so
	// that a pass holds the activations of one block at a time.
	Keep(x Tensor)

	// Read copies x out, row-major. Write makes a tensor of given rows.
	// They are what observers use; the architecture itself does not.
	Read(x Tensor, dst []float32)
	Write(src []float32, width int) Tensor

	// End finishes the pass: it commits the caches and releases every tensor.
	End() error
	// Discard gives the pass up: the caches stay as they were.
	Discard()
}

// Norm is root-mean-square normalisation: x / √(mean(x²) + Eps) · (Weight + Offset).
// A nil Weight scales by one.
type Norm struct {
	Weight Weight
	Eps    float32
	Offset float32
}

// Heads describes what happens to queries or keys before attention.
type Heads struct {
	Size int   // C
	Norm *Norm // over each head; nil for none
	Rope *Rope // nil for none
	Rows []int // of the pass that x holds, in ascending order; nil for all
}

// Rope is rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the
// half-split layout: element i of a head turns with element i + C/2 by the
// angle position · Scale · Base^(−2i/C).
type Rope struct {
	Base  float64
	Scale float64 // 1/factor of linear scaling; 1 for none
}

// Attend describes one layer's attention.
type Attend struct {
	Layer             int // index into the cache's layers
	Heads, KVHeads, C int
	Window            int     // positions a row sees back, itself included; 0 for all
	Scale             float32 // of the scores
	SoftCap           float32 // of the scores, 0 for none
	Rows              []int   // of the pass that q holds, in ascending order; nil for all
}

// Activation is the non-linearity of a gated feed-forward.
type Activation int

// The activations.
const (
	GELUTanh Activation = iota // 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
	GELU                       // 0.5·x·(1 + erf(x/√2))
	SiLU                       // x·sigmoid(x)
)

// Ranker is what a pass can do that finds the greatest outputs of a linear
// layer without computing all of them.
type Ranker interface {
	// Best finds, for each row of x, outputs of w among which are its n
	// greatest, with the values that Linear gives. It returns nil where that is
	// no easier than Linear.
	Best(x Tensor, w Weight, n int) []Ranked
}

// Ranked are some outputs of a row, in ascending order of their places.
type Ranked struct {
	Outputs []int32
	Values  []float32
}
