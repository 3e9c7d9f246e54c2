package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"lapidary/adapter"
)

// TestLengthsFollow: what DoRA divides by after steps is what [adapter.Module.Lengths]
// says of the weights that were made, not of those the run began with.
func TestLengthsFollow(t *testing.T) {
	s, _ := opened(t, gemma3)
	targets := []string{"q_proj", "k_proj", "o_proj", "gate_proj", "down_proj"}
	a, err := adapter.New(adapter.Config{Rank: 2, Alpha: 4, DoRA: true, TargetModules: targets}, s.model.Linears(), s.model.Weight, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	bind := func() *machine {
		if s.adapter, err = s.model.TrainAdapter(a); err != nil {
			t.Fatal(err)
		}
		return adapterMachine(t, s, a)
	}
	b := walkBatch(0, 2, 16, s.model.Config().Vocab)
	written := func() micro {
		r, err := (nextToken{}).trace(t.Context(), s, b, 1/(nextToken{}).counts(b))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	loss := func(m *machine) float64 {
		v, err := m.evaluate([]micro{written()})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	m := bind()
	m.follow(s.model, s.adapter, a)
	if want := len(targets) * len(s.model.Config().Layers); len(m.inverses) != want {
		t.Fatalf("%d modules' lengths follow, want %d", len(m.inverses), want)
	}
	for step := range 5 {
		if _, err := m.step([]micro{written()}, step+1, 0.05, func(float64) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	got := loss(m)
	clear(m.inverses)
	clear(m.programs)
	stale := loss(m)
	if err := m.into(a); err != nil {
		t.Fatal(err)
	}
	want := loss(bind()) // TrainAdapter takes the lengths from Lengths
	if math.Abs(got-want) > 1e-5 {
		t.Errorf("a loss of %v, and %v with the lengths of the weights that were made", got, want)
	}
	if math.Abs(stale-want) < 1e-3 {
		t.Errorf("lengths that stay behind give a loss of %v, too near %v to tell", stale, want)
	}
}
