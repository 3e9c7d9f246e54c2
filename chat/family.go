package chat

import (
	"errors"
	"fmt"
	"slices"
)

// family is how a family of models was taught to read conversations.
type family struct {
	name  string
	types []string // model_type in config.json, general.architecture in GGUF
	write func(f *family, w *writer, c Conversation, prompt bool) error
	media forms
	stop  []string // what ends an answer, beside the vocabulary's own end
	tools bool     // has the vocabulary of tools and thoughts

	// primes: with thinking off the answer is opened with an empty thought.
	primes bool
	// always: models of these types want this form whether tuned to chat or not.
	always bool
}

var families = []*family{
	{
		name: "gemma", types: []string{"gemma", "gemma2", "recurrent_gemma", "recurrentgemma", "t5gemma", "vaultgemma"},
		write: (*family).turns, stop: []string{"<end_of_turn>"},
	},
	{
		name: "gemma3", types: []string{"gemma3", "gemma3_text"},
		write: (*family).turns, stop: []string{"<end_of_turn>"}, media: gemma3Media,
	},
	{
		name: "gemma3n", types: []string{"gemma3n", "gemma3n_text"},
		write: (*family).turns, stop: []string{"<end_of_turn>"}, media: gemma3nMedia,
	},
	{
		name: "gemma4", types: gemma4Types,
		write: (*family).channels, stop: gemma4Stop, media: gemma4Media, tools: true,
	},
	{
		name: "gemma4-large", types: gemma4Types,
		write: (*family).channels, stop: gemma4Stop, media: gemma4Media, tools: true, primes: true,
	},
	{
		name: "shieldgemma2", types: []string{"shieldgemma2"},
		write: (*family).policy, stop: []string{"<end_of_turn>"}, media: gemma3Media, always: true,
	},
	{
		name: "paligemma", types: []string{"paligemma", "paligemma2"},
		write: (*family).prefix, media: paligemmaMedia, always: true,
	},
}

var (
	gemma4Types = []string{"gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text", "diffusion_gemma"}
	gemma4Stop  = []string{"<turn|>", "<|tool_response>"}
)

// seeing are the media of models that have no form for conversations.
var seeing = map[string]forms{
	"t5gemma2":         gemma3Media, // the encoder's, as transformers maps its processor
	"embedding_gemma2": embeddingMedia,
}

// candidates are the families that models of a type may be of.
func candidates(modelType string) []*family {
	var out []*family
	for _, f := range families {
		if slices.Contains(f.types, modelType) {
			out = append(out, f)
		}
	}
	return out
}

// accepts refuses what the family has no words for.
func (f *family) accepts(c Conversation) error {
	if f.tools {
		return nil
	}
	if c.usesTools() {
		return fmt.Errorf("%s has no form for tools: leave them out or use a Gemma 4", f.name)
	}
	if c.Thinking {
		return fmt.Errorf("%s does not think before it answers: leave thinking off or use a Gemma 4", f.name)
	}
	return nil
}

// pieces renders the conversation; with prompt the model's turn is opened.
func (f *family) pieces(c Conversation, prompt bool) ([]piece, error) {
	if err := f.accepts(c); err != nil {
		return nil, err
	}
	w := &writer{}
	if err := f.write(f, w, c, prompt); err != nil {
		return nil, err
	}
	return w.pieces, nil
}

// content writes a message's parts, each text trimmed.
func (f *family) content(w *writer, m *Message) error {
	for i := range m.Parts {
		if err := f.put(w, &m.Parts[i], trim); err != nil {
			return err
		}
	}
	if m.Parts == nil {
		w.text(trim(m.Content))
	}
	return nil
}

// put writes one part.
func (f *family) put(w *writer, p *Part, change func(string) string) error {
	if p.Type == Text {
		w.text(change(p.Text))
		return nil
	}
	form, ok := f.media[p.Type]
	if !ok {
		return fmt.Errorf("%s takes no %s", f.name, p.Type)
	}
	w.media(form.placeholder, p)
	return nil
}

// single is the only message of a conversation that has no turns.
func (f *family) single(c Conversation) (*Message, error) {
	if len(c.Messages) != 1 || roles[c.Messages[0].Role] != User {
		return nil, errors.New(f.name + " answers one prompt and holds no conversation: give it one user message")
	}
	return &c.Messages[0], nil
}
