package scratch

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lapidary/checkpoint"
	"lapidary/gemma"
	"lapidary/tokenizer"
	"lapidary/train/recipe"
)

// Make writes a model of random weights into the folder dir, which must not be
// there or be empty: config.json, model.safetensors (float32), the tokenizer's
// files with a chat template, generation_config.json and, where a model sees or
// hears, processor_config.json. texts are what a tokenizer is learnt from, and
// may be nil where the recipe names one. The same recipe, texts and seed make
// the same bytes; the recipe's own seed goes before seed if it is not 0.
//
// Nothing is left behind where Make fails: the folder gets its name last.
func Make(r recipe.FromScratch, texts iter.Seq[string], seed uint64, dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("from_scratch: %s is not empty; name a folder that is", dir)
	}
	if r.Seed != 0 {
		seed = r.Seed
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+"-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what cannot be removed is only in the way
	if err := write(r, texts, seed, work); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(work, dir)
}

// write fills the folder.
func write(r recipe.FromScratch, texts iter.Seq[string], seed uint64, dir string) error {
	f, err := formOf(r)
	if err != nil {
		return err
	}
	t, err := putTokenizer(r.Vocab, f, texts, dir)
	if err != nil {
		return err
	}
	text, err := configure(r, t)
	if err != nil {
		return err
	}
	if err := put(dir, "config.json", append(text, '\n')); err != nil {
		return err
	}
	if err := putSettings(r, t, dir); err != nil {
		return err
	}
	return putWeights(text, t, seed, dir)
}

func put(dir, name string, data []byte) error {
	return os.WriteFile(filepath.Join(dir, name), data, 0o644)
}

func putJSON(dir, name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return put(dir, name, append(text, '\n'))
}

// formOf is the form of the family, or of the config.json's.
func formOf(r recipe.FromScratch) (form, error) {
	family := r.Family
	if r.Config != "" {
		text, err := os.ReadFile(r.Config)
		if err != nil {
			return form{}, fmt.Errorf("from_scratch: %w", err)
		}
		var said settings
		if err := json.Unmarshal(text, &said); err != nil {
			return form{}, fmt.Errorf("from_scratch: %s: %w", r.Config, err)
		}
		family = said.ModelType
	}
	if strings.HasPrefix(family, "gemma4") {
		return fourForm, nil
	}
	f := threeForm
	if strings.HasPrefix(family, "t5") {
		f.special = slices.Clone(f.special)
		for i := range min(100, (r.Vocab.Train-256)/8) { // Gemma 2 has 99; span corruption marks spans with them
			f.special = append(f.special, fmt.Sprintf("<unused%d>", i))
		}
	}
	return f, nil
}

// putSettings writes what is neither weights nor vocabulary.
func putSettings(r recipe.FromScratch, t *tokenizer.Tokenizer, dir string) error {
	ends := t.EOS()
	generation := object{"bos_token_id": t.BOS(), "eos_token_id": ends, "do_sample": true, "top_k": 64, "top_p": 0.95}
	if id, ok := t.ID("<pad>"); ok {
		generation["pad_token_id"] = id
	}
	if err := putJSON(dir, "generation_config.json", generation); err != nil {
		return err
	}
	if r.Pictures == nil && r.Sounds == nil {
		return nil
	}
	return putJSON(dir, "processor_config.json", processor(r))
}

// processor is how pictures and sounds are prepared.
func processor(r recipe.FromScratch) object {
	out := object{"processor_class": "Gemma4UnifiedProcessor"}
	if p := r.Pictures; p != nil {
		tokens := softTokens(p.Places)
		image := object{
			"image_processor_type": "Gemma4UnifiedImageProcessor", "patch_size": p.Patch, "pooling_kernel_size": p.Pooling,
			"max_soft_tokens": tokens,
		}
		video := with(image, object{"video_processor_type": "Gemma4UnifiedVideoProcessor", "max_soft_tokens": min(tokens, 70)})
		delete(video, "image_processor_type")
		out["image_processor"], out["video_processor"], out["image_seq_length"] = image, video, tokens
	}
	const perMillisecond = 16
	samples := 640 // the published models'; transformers wants an extractor of deaf models too
	if r.Sounds != nil {
		samples = r.Sounds.Samples
	}
	out["feature_extractor"] = object{
		"feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor", "feature_size": samples,
		"audio_samples_per_token": samples, "sampling_rate": 1000 * perMillisecond,
	}
	out["audio_ms_per_token"] = float64(samples) / perMillisecond
	return out
}

// softTokens is how many a picture may have: no more than there are places for
// one that is four times as wide as high, and at most the published models'
// 280. transformers' processor takes 280, 140 and 70 alone, so from 17 places on
// it is one of them.
func softTokens(places int) int {
	room := max(1, min(places, 280)*min(places, 280)/4)
	for _, n := range []int{280, 140, 70} {
		if room >= n {
			return n
		}
	}
	return room
}

// putWeights draws what the configuration in the folder asks for.
func putWeights(text []byte, t *tokenizer.Tokenizer, seed uint64, dir string) error {
	path := filepath.Join(dir, "model.safetensors")
	// Package gemma reads configurations of checkpoints, so there is one without
	// tensors first.
	if err := writeWeights(path, nil, seed); err != nil {
		return err
	}
	config, err := readConfig(dir)
	if err != nil {
		return err
	}
	if config.Vocab < t.Len() {
		return fmt.Errorf("from_scratch: config.json says vocab_size %d, and the tokenizer has %d pieces; make vocab_size at least that", config.Vocab, t.Len())
	}
	tensors, err := list(config, text)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return writeWeights(path, tensors, seed)
}

func readConfig(dir string) (gemma.Config, error) {
	c, err := checkpoint.Open(dir)
	if err != nil {
		return gemma.Config{}, err
	}
	defer c.Close()
	return gemma.ReadConfig(c)
}
