package gemma

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lapidary/checkpoint"
)

// hfModel is the outer part of config.json: which stacks and towers there are.
type hfModel struct {
	ModelType     string          `json:"model_type"`
	Architectures []string        `json:"architectures"`
	Labels        map[string]any  `json:"id2label"`
	NumLabels     int             `json:"num_labels"`
	Text          json.RawMessage `json:"text_config"`
	Vision        json.RawMessage `json:"vision_config"`
	Audio         json.RawMessage `json:"audio_config"`
	EncoderPart   json.RawMessage `json:"encoder"`
	DecoderPart   json.RawMessage `json:"decoder"`
	HasDecoder    *bool           `json:"is_encoder_decoder"`

	Canvas int    `json:"canvas_length"`
	Yes    *int32 `json:"yes_token_index"`
	No     *int32 `json:"no_token_index"`
}

// kind is what a model_type makes of the parts of config.json.
type kind struct {
	family string // of the text stack
	read   func(k kind, m *hfModel, data []byte) (Config, error)
}

// textFamilies maps the model_type of a text stack to its family.
var textFamilies = map[string]string{
	"gemma": "gemma", "gemma2": "gemma2", "vaultgemma": "vaultgemma", "gemma3_text": "gemma3", "gemma3n_text": "gemma3n",
	"gemma4_text": "gemma4", "gemma4_unified_text": "gemma4_unified", "recurrent_gemma": "recurrent_gemma",
}

var kinds = map[string]kind{
	"gemma3":                   {"gemma3", manyModel},
	"shieldgemma2":             {"gemma3", manyModel},
	"paligemma":                {"", manyModel},
	"gemma3n":                  {"gemma3n", manyModel},
	"gemma4":                   {"gemma4", manyModel},
	"gemma4_unified":           {"gemma4_unified", manyModel},
	"embedding_gemma2":         {"embedding_gemma2", manyModel},
	"diffusion_gemma":          {"diffusion_gemma", manyModel},
	"gemma4_assistant":         {"gemma4", drafterModel},
	"gemma4_unified_assistant": {"gemma4_unified", drafterModel},
	"t5gemma":                  {"t5gemma", encoderDecoder},
	"t5gemma2":                 {"t5gemma2", encoderDecoder},
	"siglip":                   {"", pairModel},
}

func fromFolder(c *checkpoint.Checkpoint) (Config, error) {
	config, err := fromJSON(c.ConfigJSON())
	if err != nil {
		return Config{}, err
	}
	return config, denseLayers(c, &config)
}

func fromJSON(data []byte) (Config, error) {
	if len(data) == 0 {
		return Config{}, errors.New("no config.json beside the weights: it says what architecture they are")
	}
	m := hfModel{}
	if err := json.Unmarshal(data, &m); err != nil {
		return Config{}, fmt.Errorf("config.json: %w", err)
	}
	k, ok := kinds[m.ModelType]
	if family, text := textFamilies[m.ModelType]; text {
		k, ok = kind{family, textModel}, true
	}
	if !ok {
		known := append(slices.Collect(maps.Keys(kinds)), slices.Collect(maps.Keys(textFamilies))...)
		slices.Sort(known)
		return Config{}, fmt.Errorf("config.json: model_type %q is not a Gemma model this version runs (%s)", m.ModelType, strings.Join(known, ", "))
	}
	config, err := k.read(k, &m, data)
	if err != nil {
		return Config{}, err
	}
	config.classifier(&m)
	return config, nil
}

// textModel is a stack and nothing else.
func textModel(k kind, _ *hfModel, data []byte) (Config, error) {
	return textStack(k.family, data, "config.json", false)
}

func textStack(family string, data []byte, where string, nested bool) (Config, error) {
	s, h, err := textConfig(family, data, where, nested)
	if err != nil {
		return Config{}, err
	}
	c := Config{Family: s.family, Tokens: noTokens}
	if c.Stack, err = s.stack(); err != nil {
		return Config{}, err
	}
	if s.direction != causal {
		c.Head.Pooled = c.Width
		if h.EmbeddingDim != 0 {
			c.Head.Pooled, c.Head.Projected = h.EmbeddingDim, true
		}
	}
	return c, nil
}

// manyModel is a decoder with towers.
func manyModel(k kind, m *hfModel, data []byte) (Config, error) {
	if len(m.Text) == 0 {
		m.Text = []byte("{}")
	}
	if k.family == "" { // PaliGemma's decoder says itself what it is
		var inner hfModel
		if err := json.Unmarshal(m.Text, &inner); err != nil {
			return Config{}, fmt.Errorf("config.json: text_config: %w", err)
		}
		if k.family = textFamilies[inner.ModelType]; k.family == "" {
			k.family = "gemma"
		}
	}
	var c Config
	var err error
	if m.ModelType == "paligemma" {
		c, err = prefixStack(k.family, m.Text)
	} else {
		c, err = textStack(k.family, m.Text, "config.json: text_config", true)
	}
	if err != nil {
		return c, err
	}
	if c.Canvas = m.Canvas; k.family == "diffusion_gemma" && c.Canvas == 0 {
		c.Canvas = 256
	}
	if m.ModelType == "shieldgemma2" {
		c.Head.Yes, c.Head.No = 10784, 3771 // of the published checkpoint
		if m.Yes != nil && m.No != nil {
			c.Head.Yes, c.Head.No = *m.Yes, *m.No
		}
	}
	if m.ModelType == "paligemma" || m.ModelType == "shieldgemma2" {
		c.Family = m.ModelType
	}
	return c, c.towers(m, data)
}

// prefixStack is PaliGemma's decoder, in which what precedes an answer sees all
// of itself.
func prefixStack(family string, data []byte) (Config, error) {
	s, h, err := textConfig(family, data, "config.json: text_config", true)
	if err != nil {
		return Config{}, err
	}
	if string(h.Bidirectional) == "true" { // which is said of the prefix
		s.direction, s.window = causal, h.Window
	}
	s.groups = everywhere
	c := Config{Family: s.family, Tokens: noTokens, Prefix: true}
	c.Stack, err = s.stack()
	return c, err
}

// encoderDecoder is T5Gemma in both generations.
func encoderDecoder(k kind, m *hfModel, data []byte) (Config, error) {
	if len(m.EncoderPart) == 0 || len(m.DecoderPart) == 0 {
		return Config{}, errors.New("config.json: encoder or decoder is missing")
	}
	where, encoderText := "config.json: encoder", m.EncoderPart
	var inner hfModel
	if err := json.Unmarshal(m.EncoderPart, &inner); err != nil {
		return Config{}, fmt.Errorf("%s: %w", where, err)
	}
	if len(inner.Text) > 0 { // T5Gemma 2's encoder sees pictures
		where, encoderText = where+": text_config", inner.Text
	}
	s, _, err := textConfig(k.family, encoderText, where, true)
	if err != nil {
		return Config{}, err
	}
	if s.direction = inclusive; k.family == "t5gemma2" {
		s.direction = lopsided
	}
	encoder, err := s.stack()
	if err != nil {
		return Config{}, err
	}
	if m.HasDecoder != nil && !*m.HasDecoder {
		c := Config{Family: s.family, Stack: encoder, Tokens: noTokens}
		c.Head.Pooled = c.Width
		return c, nil
	}
	if s, _, err = textConfig(k.family, m.DecoderPart, "config.json: decoder", true); err != nil {
		return Config{}, err
	}
	if s.source = SourceApart; k.family == "t5gemma2" {
		s.source = SourceMerged
	}
	c := Config{Family: s.family, Encoder: &encoder, Tokens: noTokens}
	if c.Stack, err = s.stack(); err != nil {
		return Config{}, err
	}
	if s.source == SourceMerged && encoder.Width != c.Width {
		return Config{}, fmt.Errorf("config: an encoder %d wide and a decoder %d wide cannot share an attention", encoder.Width, c.Width)
	}
	inner.ModelType = m.ModelType
	return c, c.towers(&inner, m.EncoderPart)
}

// classifier notes the head that the architecture's name tells.
func (c *Config) classifier(m *hfModel) {
	for _, name := range m.Architectures {
		sequence, token := strings.HasSuffix(name, "ForSequenceClassification"), strings.HasSuffix(name, "ForTokenClassification")
		if !sequence && !token {
			continue
		}
		c.Head.PerToken = token
		switch c.Head.Labels = m.NumLabels; {
		case c.Head.Labels != 0:
		case m.Labels != nil:
			c.Head.Labels = len(m.Labels)
		default:
			c.Head.Labels = 2 // transformers' habit
		}
	}
}

// denseLayers finds the layers that sentence-transformers keeps beside an
// encoder, in the order of their folders.
func denseLayers(c *checkpoint.Checkpoint, config *Config) error {
	if config.Head.Pooled == 0 || config.Head.Projected {
		return nil
	}
	for i := 2; ; i++ {
		text, err := c.Sibling(fmt.Sprintf("%d_Dense/config.json", i))
		if err != nil {
			return nil // no more
		}
		var dense struct {
			In         int    `json:"in_features"`
			Out        int    `json:"out_features"`
			Bias       bool   `json:"bias"`
			Activation string `json:"activation_function"`
		}
		if err := json.Unmarshal(text, &dense); err != nil {
			return fmt.Errorf("%d_Dense/config.json: %w", i, err)
		}
		if dense.Bias || !strings.HasSuffix(dense.Activation, "Identity") || dense.In != config.Head.Pooled {
			return fmt.Errorf("%d_Dense/config.json: a layer from %d to %d, bias %v, %s after one of %d is not supported",
				i, dense.In, dense.Out, dense.Bias, dense.Activation, config.Head.Pooled)
		}
		if err := within(bound{"embedding width", dense.Out, maxWidth}); err != nil {
			return err
		}
		config.Head.Pooled = dense.Out
		config.Head.Dense = append(config.Head.Dense, dense.Out)
	}
}
