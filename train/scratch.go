package train

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"

	"lapidary/train/data"
	"lapidary/train/recipe"
	"lapidary/train/scratch"
)

// fromScratch is the folder of the model of random numbers that a run begins
// with. It is made once: a run that goes on finds it.
func (s *session) fromScratch(ctx context.Context, f *recipe.FromScratch) (string, error) {
	path := filepath.Join(s.recipe.Out, "scratch")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	var texts iter.Seq[string]
	var failed error
	if f.Vocab.Train > 0 {
		s.options.Say("learning the pieces of a tokenizer")
		spec, err := s.sources()
		if err != nil {
			return "", err
		}
		texts = textsOf(ctx, spec.Sources, &failed)
	}
	err := scratch.Make(*f, texts, s.recipe.Seed, path)
	if failed != nil {
		return "", failed
	}
	return path, err
}

// textsOf are the texts of sources, up to the first that cannot be read.
func textsOf(ctx context.Context, sources []data.Source, failed *error) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range sources {
			for e, err := range sources[i].Examples(ctx) {
				var broken *data.Broken
				if sources[i].SkipBroken && errors.As(err, &broken) {
					continue
				}
				if err != nil {
					*failed = err
					return
				}
				for _, t := range e.Texts {
					if !yield(written(t)) {
						return
					}
				}
			}
		}
	}
}

// written is a text in one piece.
func written(t data.Turns) string {
	text := t.Prompt + t.Answer
	for _, m := range t.Chat {
		text += m.Content + "\n"
	}
	return text
}
