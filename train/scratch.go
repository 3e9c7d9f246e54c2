package train

import (
	"context"
	"errors"

	"lapidary/train/recipe"
)

// fromScratch makes the model of random numbers that a run begins with.
func (s *session) fromScratch(context.Context, *recipe.FromScratch) (string, error) {
	return "", errors.New("from_scratch: not yet")
}
