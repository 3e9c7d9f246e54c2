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

// CacheLayer is what one layer keeps of a sequence: keys and values, or the
// state of a recurrence.
type CacheLayer struct {
	KVHeads, HeadSize int
	// Window is how many positions back a row can look, itself included;
	// 0 keeps everything.
	Window int
	// Keep is how far an engine may round keys and values.
	Keep Precision
	// Source keeps the keys and values of a source's rows (Span.Source) and
	// none of the sequence's own.
	Source bool
	// State is how many numbers a recurrence carries from row to row, in
	// float32; there are no keys and values then.
	State int
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
	// Source says that the rows are those of the cache's source, what an
	// encoder made of another text: at positions 0, 1, … they leave keys and
	// values in the Source layers, in place of what those held.
	Source bool
	// Behind is how many positions before the end of the cache the rows stand, 16
	// at the most where layers have windows. Such rows may read memories; they
	// leave nothing in them.
	Behind int
	// Groups numbers what belongs together, a row each: rows of one number
	// above 0 see each other, later ones too, where Attend.Groups says so. A
	// group lies within one span. Nil for none.
	Groups []int32
	// Grid is where a row lies in a picture, column and line, for the ropes
	// that ask for it. Nil where none does.
	Grid [][2]int32
}

// Pass is the vocabulary: the operations the architecture is written in.
// Shapes: R rows of the pass, D model width, H query heads, K key-value heads,
// C head size, F feed-forward width, V vocabulary, E experts.
//
// Operations do not return errors: the shapes they are given were checked when
// the model was loaded, and a mismatch panics as an index out of range would.
// What can fail in a sound program (a cancelled context) is reported by End.
//
// Heads, Gate, Add, Affine, Scale, Clamp, Sparse, SoftCap, Match and Put
// consume their first argument: its storage becomes the result's, and it must
// not be used again.
type Pass interface {
	// Embed gathers rows of table [V, D] and multiplies them by scale → [R, D].
	Embed(table Weight, ids []int32, scale float32) Tensor
	// Expect is the mean of the rows of table [V, D] with the probabilities
	// softmax(x), x [R, V], multiplied by scale → [R, D].
	Expect(x Tensor, table Weight, scale float32) Tensor

	// Norm normalises over the width → [R, D].
	Norm(x Tensor, n Norm) Tensor
	// CumulativeNorm normalises over all that came before → same shape.
	CumulativeNorm(x Tensor, n CumulativeNorm) Tensor
	// Linear multiplies x [R, in] by each of the weights [out, in] → [R, out].
	// Several weights at once let an engine prepare x once.
	Linear(x Tensor, ws ...Weight) []Tensor
	// BlockLinear multiplies each of n equal parts of x's rows [R, n·in] by its
	// own block of w [n·in, out], stored inputs first → [R, n·out].
	BlockLinear(x Tensor, w Weight, n int) Tensor
	// Experts is the sum of the feed-forwards that each row's scores [R, E]
	// choose for x [R, D] → [R, D].
	Experts(x, scores Tensor, e Experts) Tensor

	// Heads norms and rotates each head of x [R, heads·C] → same shape.
	Heads(x Tensor, h Heads) Tensor
	// Attend stores k and v [R, K·C] in the sequences' memories and lets each
	// row of q [R, H·C] see what a says → [R, H·C]. Nil k and v read what
	// another Attend has stored in that layer; a nil q stores only → nil.
	Attend(q, k, v Tensor, a Attend) Tensor
	// Recur runs a gated linear recurrence over x [R, W]; in and forget [R, W]
	// are its gates before their sigmoid → [R, W].
	Recur(x, in, forget Tensor, r Recurrence) Tensor
	// Conv1D is a causal convolution of each column over the rows of x [R, W],
	// before which there are zeros or what the memory holds → [R, W].
	Conv1D(x Tensor, c Conv1D) Tensor
	// Conv2D is a convolution over rows and the places within them.
	Conv2D(x Tensor, c Conv2D) Tensor

	// Gate is act(gate) · up → [R, F]. A nil up stands for ones.
	Gate(gate, up Tensor, act Activation) Tensor
	// Add is x + y → [R, D].
	Add(x, y Tensor) Tensor
	// Affine is x · by + plus, both [D]; a nil by stands for ones, a nil plus
	// for zeros → [R, D].
	Affine(x Tensor, by, plus Weight) Tensor
	// Scale is x · by.
	Scale(x Tensor, by float32) Tensor
	// Clamp is max(least, min(x, most)), elementwise.
	Clamp(x Tensor, least, most float32) Tensor
	// Sparse is max(0, x − mean − deviations · standard deviation) with the mean
	// and the deviation of each row: about as many elements stay above 0 as a
	// normal distribution has beyond that.
	Sparse(x Tensor, deviations float32) Tensor
	// SoftCap is limit · tanh(x / limit), elementwise.
	SoftCap(x Tensor, limit float32) Tensor
	// Mix is m sums of the n given xs [R, D], with the factors that each row of
	// by [R, m·n] has for them: result j is Σᵢ by[j·n + i] · xs[i].
	Mix(xs []Tensor, by Tensor) []Tensor
	// Match scales each row of x [R, D] to the root mean square of its row in
	// like [R, D], its own mean square counting as 1e-5 at the least.
	Match(x, like Tensor) Tensor

	// Pick keeps the given rows, in ascending order → [len(rows), D].
	Pick(x Tensor, rows []int) Tensor
	// Put is x with the given rows, in ascending order, replaced by those of y.
	Put(x Tensor, rows []int, y Tensor) Tensor
	// Columns copies n columns of x, from the given one on → [R, n].
	Columns(x Tensor, from, n int) Tensor
	// Mean is the mean of each of the groups of rows → [len(groups), D].
	Mean(x Tensor, groups [][]int) Tensor

	// Keep releases every tensor made so far but the xs. A block ends with it,
	// so that a pass holds the activations of one block at a time.
	Keep(xs ...Tensor)

	// Read copies x out, row-major. Write makes a tensor of given rows.
	Read(x Tensor, dst []float32)
	Write(src []float32, width int) Tensor

	// End finishes the pass: it commits the caches and releases every tensor.
	End() error
	// Discard gives the pass up: the caches stay as they were.
	Discard()
}

// Norm is root-mean-square normalisation (Zhang and Sennrich 2019,
// arXiv:1910.07467): x / √(mean(x²) + Eps) · (Weight + Offset) + Bias. Centred,
// it is layer normalisation (Ba et al. 2016, arXiv:1607.06450): the mean is
// taken from x first. A nil Weight scales by one, a nil Bias adds nothing.
type Norm struct {
	Weight  Weight
	Bias    Weight
	Eps     float32
	Offset  float32
	Centred bool
}

// CumulativeNorm normalises the rows of clips, [R, places·channels], each by
// the mean of all elements up to its end and by the mean of the squares by which
// they were off the means of their own time, and scales the channels by Weight.
type CumulativeNorm struct {
	Weight  Weight // [channels]
	Eps     float32
	Lengths []int // rows of each clip
}

// Heads describes what happens to queries or keys before attention.
type Heads struct {
	Size  int    // C
	Norm  *Norm  // over each head; nil for none
	Ropes []Rope // of different parts of the head
	Rows  []int  // of the pass that x holds, in ascending order; nil for all
}

// Rope is rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the
// half-split layout, over Size elements of a head: element i of them turns with
// element i + Size/2 by the angle place · Scale · Base^(−2i/Size).
type Rope struct {
	Base  float64
	Scale float64 // 1/factor of linear scaling; 1 for none
	From  int     // the first element
	Size  int     // 0 for all
	Turn  int     // how many of the Size/2 angles there are, the others being 0; 0 for all
	Axis  Axis
	Shift int // added to the place
}

// Axis is what a rope takes for a row's place.
type Axis uint8

// The axes.
const (
	Position Axis = iota // in the sequence
	Column               // Span.Grid
	Line
)

// Attend describes one layer's attention.
type Attend struct {
	Layer             int // index into the cache's layers; without a cache, of what is kept until the next that stores there
	Heads, KVHeads, C int
	Window            int     // positions a row sees back, itself included; 0 for all
	Ahead             int     // positions a row sees after its own, within its span; All for all
	Anchored          bool    // the Window of a span's first row is that of all its rows
	Groups            bool    // rows see their group (Span.Groups), of it no further back than Window
	Scale             float32 // of the scores
	SoftCap           float32 // of the scores, 0 for none
	Rows              []int   // of the pass that q holds, in ascending order; nil for all

	// Source lets a row see the source that the layer holds, all of it, and
	// nothing else.
	Source bool
	// Beside is 1 + a Source layer whose keys and values, with heads of the same
	// kind, a row sees besides its own, in one softmax; 0 for none.
	Beside int

	// Relative [places, H·C] is added to a key, before the product with the
	// query, by how far back it is (Dai et al. 2019, arXiv:1901.02860): row i
	// for a key Far − i positions back, nothing where there is no such row. Nil
	// for none.
	Relative Tensor
	Far      int
}

// All is no limit to Attend.Ahead.
const All = -1

// Recurrence is the real-gated linear recurrent unit (De et al. 2024,
// arXiv:2402.19427): hₜ = a·hₜ₋₁ + √(1 − a²)·σ(in)·x with
// a = exp(−8 · σ(forget) · softplus(Decay)); at position 0 h is σ(in)·x.
type Recurrence struct {
	Layer int    // of the cache, State W
	Decay Weight // [W]
}

// Conv1D is y[t] = Bias + Σₖ Weight[·, k] · x[t − K + 1 + k].
type Conv1D struct {
	Layer  int    // of the cache, State (K − 1)·W
	Weight Weight // [W, K]
	Bias   Weight // [W]; nil for none
}

// Conv2D slides over clips, whose rows are times and hold places·In numbers,
// the channels of a place beside each other → [R', places'·Out], with
// R' the sum of what each clip gives. Axis 0 is time, 1 the places. A picture is
// a clip whose times are its lines.
type Conv2D struct {
	Weight        Weight // [Out, In/Groups·Size[0]·Size[1]]
	In, Out       int
	Size, Stride  [2]int
	Before, After [2]int // zeros beyond the edges
	Lengths       []int  // times of each clip
	// Groups are equal parts of the channels: an output sees the inputs of its own
	// part alone. 0 counts as 1; In is one for each channel (depthwise).
	Groups int
	// Places, if not 0, is how many places a time has in x, and says that rows are
	// places and not times: x is [times·Places, In], the result [R'·places', Out].
	Places int
}

// Shape is how many places a time of x has, x being rows of such a width, and
// how many times and places the result has.
func (c Conv2D) Shape(width int) (places, times, out int) {
	if places = c.Places; places == 0 {
		places = width / c.In
	}
	for _, n := range c.Lengths {
		times += c.Steps(0, n)
	}
	return places, times, c.Steps(1, places)
}

// Steps is how many places a convolution has along an axis of n.
func (c Conv2D) Steps(axis, n int) int {
	return (c.Before[axis]+n+c.After[axis]-c.Size[axis])/c.Stride[axis] + 1
}

// Experts is a sparse mixture of gated feed-forwards: of the probabilities
// softmax(scores) the Top greatest count, of equals the first, divided by their
// sum and multiplied by Scale.
type Experts struct {
	GateUp     Weight // [E·2·F, D], of each expert the gate's rows, then the other's
	Down       Weight // [E·D, F]
	Scale      Weight // [E]; nil for ones
	Count, Top int    // E, and how many of them a row takes
	Activation Activation
}

// Activation is the non-linearity of a gated feed-forward.
type Activation int

// The activations.
const (
	GELUTanh Activation = iota // 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
	GELU                       // 0.5·x·(1 + erf(x/√2))
	SiLU                       // x·sigmoid(x)
	ReLU                       // max(0, x)
	Tanh                       // tanh(x)
	Sigmoid                    // 1/(1 + exp(−x))
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
