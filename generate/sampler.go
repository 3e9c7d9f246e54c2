package generate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// ErrLogits is returned when a model gives no finite logit to choose from.
var ErrLogits = errors.New("the model gives no finite logit: its weights are damaged, or not what their header says")

// Sampler chooses the tokens of one generation. It does these steps in this
// order, each on what the one before it left:
//
//  1. penalties: repeat, then frequency and presence
//  2. temperature
//  3. top-k
//  4. top-p, of the probabilities of what top-k left
//  5. min-p
//  6. a draw from what is left, renormalised
//
// (Transformers' order; llama.cpp takes the temperature last, so its top-p and
// min-p ignore it.) A Sampler serves one sequence and allocates nothing a
// token.
type Sampler struct {
	temperature, topP, minP float64
	topK                    int
	seed                    uint64
	rng                     *rand.Rand
	penalties               *penalties // nil when they change nothing
	kept                    []candidate
	mass                    []float64 // of each block of tokens
}

// NewSampler makes the sampler of one generation over a vocabulary. The prompt
// is what RepeatPenalty sees from the start.
func NewSampler(p Params, vocab int, prompt []int32) (*Sampler, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if err := checkTokens(prompt, vocab); err != nil {
		return nil, err
	}
	s := &Sampler{temperature: float64(p.Temperature), topP: float64(p.TopP), minP: float64(p.MinP), topK: p.TopK}
	if s.topK >= vocab {
		s.topK = 0
	}
	s.seed = rand.Uint64()
	if p.Seed != nil {
		s.seed = *p.Seed
	}
	s.rng = rand.New(rand.NewPCG(s.seed, 0))
	switch {
	case p.Temperature == 0:
	case s.topK > 0:
		s.kept = make([]candidate, 0, s.topK)
	default:
		s.kept = make([]candidate, 0, vocab)
		s.mass = make([]float64, (vocab+massBlock-1)/massBlock)
	}
	s.penalties = newPenalties(&p, vocab, prompt)
	return s, nil
}

// checkTokens refuses what is no token.
func checkTokens(ids []int32, vocab int) error {
	for i, id := range ids {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("token %d at place %d %w: the vocabulary has %d tokens", id, i, ErrParams, vocab)
		}
	}
	return nil
}

// Seed is the seed in use, given or drawn.
func (s *Sampler) Seed() uint64 { return s.seed }

// Needs is how many of the greatest logits are enough for the next n tokens, 0
// if it takes all. Penalties can only take tokens from the front.
func (s *Sampler) Needs(n int) int {
	k := s.topK
	switch {
	case s.temperature == 0:
		k = 1
	case k == 0:
		return 0
	}
	if s.penalties == nil {
		return k
	}
	if s.penalties.raise() {
		return 0
	}
	return k + s.penalties.touched() + 2*(n-1)
}

// Sample chooses a token from the logits [V] and takes note of it for the
// penalties. If known is not nil, all logits but those at its places, which
// ascend, are −Inf. The logits are the same after it as before.
func (s *Sampler) Sample(logits []float32, known []int32) (int32, error) {
	if s.penalties == nil {
		return s.choose(logits, known)
	}
	s.penalties.apply(logits)
	id, err := s.choose(logits, known)
	s.penalties.undo(logits)
	if err == nil {
		s.penalties.accept(id)
	}
	return id, err
}

func (s *Sampler) choose(logits []float32, known []int32) (int32, error) {
	if s.topK > 0 && s.temperature > 0 {
		s.kept = topOf(logits, known, s.topK, s.kept)
		if !finite(s.kept[0].logit) {
			return 0, ErrLogits
		}
		return s.drawKept(), nil
	}
	b := bestOf(logits, known)
	if !finite(b.logit) {
		return 0, ErrLogits
	}
	if s.temperature == 0 {
		return b.id, nil
	}
	return s.drawAll(logits, b), nil
}

func finite(x float32) bool { return x-x == 0 }

// weigher gives a token's probability as a multiple of the likeliest one's.
type weigher struct {
	max   float64
	scale float64 // 1/temperature
}

func (w weigher) weight(c candidate) float64 { return exp(w.scale * (float64(c.logit) - w.max)) }

// drawKept draws from s.kept, which is in order.
func (s *Sampler) drawKept() int32 {
	w := weigher{float64(s.kept[0].logit), 1 / s.temperature}
	all := 0.0
	for _, c := range s.kept {
		all += w.weight(c)
	}
	n, sum := 0, 0.0
	for _, c := range s.kept {
		x := w.weight(c)
		if n > 0 && (s.topP < 1 && sum >= s.topP*all || x < s.minP) {
			break
		}
		sum += x
		n++
	}
	u := s.rng.Float64() * sum
	for _, c := range s.kept[:n-1] {
		if u -= w.weight(c); u < 0 {
			return c.id
		}
	}
	return s.kept[n-1].id
}

// massBlock is how many tokens share a sum in drawAll: the draw goes through
// the sums and then through one block.
const massBlock = 1024

// drawAll draws from the whole vocabulary, or from as much of it as top-p and
// min-p leave; b is its best. The tokens that are kept are those up to a last
// one in the order of candidates, so finding it is enough.
func (s *Sampler) drawAll(logits []float32, b candidate) int32 {
	w := weigher{float64(b.logit), 1 / s.temperature}
	last := candidate{float32(math.Inf(-1)), math.MaxInt32}
	if s.topP < 1 {
		last = s.nucleus(logits, w)
	}
	if s.minP > 0 {
		if m := s.minimum(b); m.before(last) {
			last = m
		}
	}
	sum := 0.0
	for i := range s.mass {
		s.mass[i] = w.sum(blockOf(logits, i), int32(i*massBlock), last)
		sum += s.mass[i]
	}
	u := s.rng.Float64() * sum
	for i, m := range s.mass {
		if u < m {
			return w.walk(blockOf(logits, i), int32(i*massBlock), last, u, b.id)
		}
		u -= m
	}
	return b.id
}

func blockOf(logits []float32, i int) []float32 {
	return logits[i*massBlock : min(len(logits), (i+1)*massBlock)]
}

// minimum is the last token that min-p keeps beside b: its logit is the least
// float32 that is allowed.
func (s *Sampler) minimum(b candidate) candidate {
	least := float64(b.logit) + s.temperature*math.Log(s.minP)
	x := float32(least)
	if float64(x) < least {
		x = math.Nextafter32(x, float32(math.Inf(1)))
	}
	return candidate{min(x, b.logit), math.MaxInt32}
}

// sum is the weight of a block's tokens up to last.
func (w weigher) sum(block []float32, first int32, last candidate) float64 {
	if math.IsInf(float64(last.logit), -1) {
		return sumExp(block, float32(w.max), w.scale)
	}
	sum := 0.0
	for i, x := range block {
		if c := (candidate{x, first + int32(i)}); x >= last.logit && !last.before(c) {
			sum += w.weight(c)
		}
	}
	return sum
}

// walk returns the token at which the weights of a block's tokens pass u;
// otherwise, should rounding leave none, the given one.
func (w weigher) walk(block []float32, first int32, last candidate, u float64, otherwise int32) int32 {
	for i, x := range block {
		c := candidate{x, first + int32(i)}
		if last.before(c) {
			continue
		}
		weight := w.weight(c)
		if weight == 0 {
			continue
		}
		otherwise = c.id
		if u -= weight; u < 0 {
			break
		}
	}
	return otherwise
}

// nucleusBins times nucleusWidth natural-log units below the best is where
// nucleus looks: what lies beyond adds less than 1e-12 to the probability.
const (
	nucleusBins  = 1024
	nucleusWidth = 40.0 / nucleusBins
)

// nucleus returns the last token that top-p keeps. One pass sums the weights
// in bins of equal distance from the best logit; the bin in which the sum
// reaches p then holds few tokens, and only those are compared.
func (s *Sampler) nucleus(logits []float32, w weigher) candidate {
	var bins [nucleusBins]float64
	for _, x := range logits {
		if i := w.bin(x); i < nucleusBins {
			bins[i] += exp(w.scale * (float64(x) - w.max))
		}
	}
	sum := 0.0
	for _, x := range bins {
		sum += x
	}
	need, at := s.topP*sum, 0
	for at < nucleusBins-1 && bins[at] < need {
		need -= bins[at]
		at++
	}
	s.kept = s.kept[:0]
	for i, x := range logits {
		if w.bin(x) == at {
			s.kept = append(s.kept, candidate{x, int32(i)})
		}
	}
	if len(s.kept) == 0 { // rounding carried the search past the last token
		return candidate{float32(math.Inf(-1)), math.MaxInt32}
	}
	return reach(s.kept, need, w.weight)
}

// bin is the distance of a logit from the best in units of nucleusWidth.
func (w weigher) bin(x float32) int {
	d := w.scale * (w.max - float64(x)) * (1 / nucleusWidth)
	if !(d < nucleusBins) {
		return nucleusBins
	}
	return int(d)
}
