package train

import (
	"errors"
	"fmt"
	"os"

	"lapidary/train/recipe"
)

// refuse says in a line what of a recipe cannot be done, before anything starts.
func refuse(r *recipe.Recipe) error {
	o, adapted := r.Objective.Kind, r.Adapter.Kind != recipe.NoAdapter
	l := r.Devices.Layout
	switch {
	case l.Model > 1 && l.Data*l.FSDP > 1 && o != recipe.NextToken:
		return fmt.Errorf("devices.layout: model beside data or fsdp is for next_token; %s learns over model alone, or over data and fsdp", o)
	case adapted && r.Adapter.Quantised:
		return errors.New("adapter.quantised: frozen weights lie on the device in the run's precision, not as the file stores them; leave it out, precision: bfloat16 takes half of float32's room")
	case o == recipe.TokenClassify:
		return errors.New("objective token_classify: a record of data has one label for its text and none for tokens; classify learns that")
	case o == recipe.GRPO:
		return errors.New("objective grpo is not built: it would draw answers while it trains; draw and sort them beforehand, and dpo learns from them")
	case o == recipe.DPO && !adapted:
		return errors.New("objective dpo: train an adapter: the model without it is the reference")
	case len(r.Eval.Prompts) > 0 && !writes(o):
		return fmt.Errorf("eval.prompts: objective %s makes a model that goes on with no texts; leave them out", o)
	}
	return nil
}

// writes says whether a model that learnt this goes on with texts.
func writes(o recipe.ObjectiveKind) bool {
	return o != recipe.Classify && o != recipe.TokenClassify && o != recipe.Contrastive
}

// refuseFile refuses to train all weights of what could not be written again.
func refuseFile(r *recipe.Recipe, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if r.Adapter.Kind == recipe.NoAdapter && !info.IsDir() {
		return fmt.Errorf("%s is not a folder: all weights of a Hugging Face folder can be trained (lapidary convert makes one), or an adapter beside any file", path)
	}
	return nil
}
