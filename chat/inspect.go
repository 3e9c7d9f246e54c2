package chat

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"

	"lapidary/checkpoint"
)

// about is what a checkpoint says of itself that matters here.
type about struct {
	modelType string
	tuned     bool // says that it was tuned to chat
	perLayer  bool // has per-layer inputs: of Gemma 4 the small ones
	soft      map[string]int32
}

// tunedName finds the word that models tuned to follow instructions have in
// their names.
var tunedName = regexp.MustCompile(`(?i)(^|[-_. /])(it|instruct|chat)($|[-_. /:])`)

func inspect(c *checkpoint.Checkpoint) about {
	if m := c.Metadata(); m != nil {
		return inspectMetadata(m)
	}
	a := inspectConfig(c.ConfigJSON())
	a.tuned = a.tuned || tunedName.MatchString(filepath.Base(c.Path()))
	return a
}

func inspectMetadata(m *checkpoint.Metadata) about {
	var a about
	a.modelType, _ = m.String("general.architecture")
	n, _ := m.Uint(a.modelType + ".embedding_length_per_layer_input")
	a.perLayer = n > 0
	for _, key := range []string{"general.finetune", "general.name", "general.basename"} {
		s, _ := m.String(key)
		a.tuned = a.tuned || tunedName.MatchString(s)
	}
	return a
}

// inspectConfig reads a config.json. Gemma's spell the soft tokens' ids both
// ways.
func inspectConfig(data []byte) about {
	var config struct {
		ModelType string `json:"model_type"`
		Name      string `json:"_name_or_path"`
		PerLayer  int    `json:"hidden_size_per_layer_input"`
		Text      struct {
			PerLayer int `json:"hidden_size_per_layer_input"`
		} `json:"text_config"`
	}
	_ = json.Unmarshal(data, &config) // what cannot be read is not known; package gemma reports it
	var ids map[string]any
	_ = json.Unmarshal(data, &ids)
	a := about{modelType: config.ModelType, tuned: tunedName.MatchString(config.Name), soft: map[string]int32{}}
	a.perLayer = config.PerLayer+config.Text.PerLayer > 0
	for _, kind := range []string{Image, Audio, Video} {
		for _, ending := range []string{"_token_index", "_token_id"} {
			if id, ok := ids[kind+ending].(float64); ok && id >= 0 && id < 1<<31 {
				a.soft[kind] = int32(id)
			}
		}
	}
	return a
}

// builtIn is the form for a checkpoint without a template; nil where it only
// completes text.
func (a about) builtIn() *family {
	fs := candidates(a.modelType)
	if len(fs) == 0 || !a.tuned && !fs[0].always {
		return nil
	}
	if strings.HasPrefix(fs[0].name, "gemma4") && !a.perLayer {
		return fs[len(fs)-1]
	}
	return fs[0]
}
