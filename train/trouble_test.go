package train

import (
	"errors"
	"math"
	"testing"

	"lapidary/train/recipe"
)

// TestSound: a loss that is no number, or far above the mean of the last ones, is
// refused with what the recipe says to do about it.
func TestSound(t *testing.T) {
	s := &session{recipe: &recipe.Recipe{OnNaN: recipe.Skip, Spike: recipe.Spike{Factor: 2, Window: 3, Action: recipe.Rollback}}}
	for _, loss := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		var bad *trouble
		if err := s.sound(loss); !errors.As(err, &bad) || bad.action != recipe.Skip {
			t.Errorf("a loss of %v: %v", loss, err)
		}
	}
	for i, loss := range []float64{1, 2, 9, 3, 9, 1} { // of 9, first no mean is known, then it is (2+9+3)/3
		if err := s.sound(loss); err != nil {
			t.Errorf("loss %d, %v: %v", i, loss, err)
		}
		s.watch(loss)
	}
	var bad *trouble
	if err := s.sound(8.7); !errors.As(err, &bad) || bad.action != recipe.Rollback { // the mean of 3, 9, 1 is 4.33
		t.Errorf("a spike: %v", err)
	}
	s.recipe.Spike.Action = recipe.Ignore
	if err := s.sound(100); err != nil {
		t.Errorf("a spike that is ignored: %v", err)
	}
	if n := len(s.place.Recent); n != 3 {
		t.Errorf("%d losses are kept, want 3", n)
	}
}
