package lapidary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"lapidary/gemma"
	"lapidary/generate"
)

// ErrNoEmbeddings is wrapped by what Embed answers of a model that was not made
// to embed.
var ErrNoEmbeddings = errors.New("makes no embeddings")

// Embedding is the vector of one text.
type Embedding struct {
	Vector []float32 // of length 1
	Tokens int       // of the text with its prompt and the marks around it
	Cut    bool      // the text was longer than the model's context
}

// TextError says which of the texts given to Embed is at fault.
type TextError struct {
	Index int // from 0
	Err   error
}

func (e *TextError) Error() string { return fmt.Sprintf("text %d: %v", e.Index+1, e.Err) }
func (e *TextError) Unwrap() error { return e.Err }

// EmbedOption changes how texts are embedded. One that cannot be obeyed is
// refused with an error that wraps [generate.ErrParams].
type EmbedOption func(*embedOptions)

type embedOptions struct {
	name       *string // of a prompt
	text       *string // of a prompt
	dimensions *int
	cut        bool
}

// EmbedPrompt puts the prompt of that name before each text: it tells the model
// what the vector is for. [Model.Prompts] has the names; capitals do not matter.
func EmbedPrompt(name string) EmbedOption {
	return func(o *embedOptions) { o.name, o.text = &name, nil }
}

// EmbedPrefix puts that text before each text, "title: The Go book | text: " for
// instance; "" puts nothing there.
func EmbedPrefix(text string) EmbedOption {
	return func(o *embedOptions) { o.name, o.text = nil, &text }
}

// EmbedDimensions keeps the first n numbers of each vector and makes its length 1
// again. EmbeddingGemma was trained for 768, 512, 256 and 128 (Matryoshka
// representation learning, arXiv:2205.13147); others are obeyed too.
func EmbedDimensions(n int) EmbedOption {
	return func(o *embedOptions) { o.dimensions = &n }
}

// EmbedTruncate embeds what fits the context of a text that is longer. Without
// it such a text is refused.
func EmbedTruncate() EmbedOption {
	return func(o *embedOptions) { o.cut = true }
}

// embedRows is how many tokens are embedded together. No caches and no logits
// hang on them, so there may be more than [gemma.MaxRows]: EmbeddingGemma on two
// threads takes 2,050 tokens a second in float32 by 1,024, 1,850 by 512,
// 1,980 by 2,048.
const embedRows = 2 * gemma.MaxRows

// Embed is a vector of length 1 for each text: the scalar product of two tells
// how alike the texts are. A text longer than the model's context is refused
// with a [TextError] that wraps [gemma.ErrContext], unless [EmbedTruncate] is
// given. What is spelled like a control token in a text stays what it is.
//
// Texts are evaluated together, so it is faster to give many at once. The last
// digits of a vector may depend on what else was given.
func (m *Model) Embed(ctx context.Context, texts []string, opts ...EmbedOption) ([][]float32, error) {
	all, err := m.Embeddings(ctx, texts, opts...)
	if err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(all))
	for i, e := range all {
		vectors[i] = e.Vector
	}
	return vectors, nil
}

// Embeddings is [Model.Embed] with what else is known of each text.
func (m *Model) Embeddings(ctx context.Context, texts []string, opts ...EmbedOption) ([]Embedding, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	e, err := m.embedding()
	if err != nil {
		return nil, err
	}
	var o embedOptions
	for _, opt := range opts {
		opt(&o)
	}
	prefix, err := e.prefix(o)
	if err != nil {
		return nil, err
	}
	dimensions, err := e.dimensions(o)
	if err != nil {
		return nil, err
	}
	out, ids := make([]Embedding, len(texts)), make([][]int32, len(texts))
	for i, text := range texts {
		if ids[i], out[i].Cut, err = m.embeddingTokens(prefix+text, e.limit, o.cut); err != nil {
			return nil, &TextError{i, err}
		}
		out[i].Tokens = len(ids[i])
	}
	for _, pass := range passes(ids, embedRows) {
		if err := m.embedPass(ctx, pass, ids, dimensions, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// embedPass embeds some of the texts together.
func (m *Model) embedPass(ctx context.Context, pass []int, ids [][]int32, dimensions int, out []Embedding) error {
	steps := make([]gemma.Step, len(pass))
	for i, text := range pass {
		steps[i].Tokens = ids[text]
	}
	vectors, err := m.core.Embed(ctx, steps)
	if err != nil {
		return err
	}
	for i, text := range pass {
		if out[text].Vector = vectors[i]; dimensions < len(vectors[i]) {
			out[text].Vector = gemma.Truncated(vectors[i], dimensions)
		}
	}
	return nil
}

// embeddingTokens are the tokens of a text between the marks that the tokenizer
// wants around it, cut to the limit if that is allowed.
func (m *Model) embeddingTokens(text string, limit int, mayCut bool) (ids []int32, cut bool, err error) {
	ids = m.Encode(text)
	var end []int32
	if eos := m.tokenizer.EOS(); m.tokenizer.AddEOS() && len(eos) > 0 {
		end = eos[:1]
	}
	n := len(ids) + len(end)
	switch {
	case n == 0:
		return nil, false, errors.New("an empty text has no tokens to make an embedding of")
	case n > limit && !mayCut:
		return nil, false, fmt.Errorf("%d tokens, %w of %d: shorten it, cut it in parts, or allow it to be truncated", n, gemma.ErrContext, limit)
	case n > limit:
		ids, cut = ids[:max(0, limit-len(end))], true
	}
	return append(ids, end...), cut, nil
}

// passes shares texts out among passes of about so many rows: the longest that
// is left begins one, and the shortest fill it up. A longer text has a pass of
// its own, since all of it is seen at once.
func passes(ids [][]int32, rows int) [][]int {
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(ids[b]), len(ids[a])) })
	var all [][]int
	for len(order) > 0 {
		pass, n := order[:1:1], len(ids[order[0]])
		order = order[1:]
		for len(order) > 0 && n+len(ids[order[0]]) <= rows {
			pass, n, order = append(pass, order[0]), n+len(ids[order[0]]), order[1:]
		}
		for last := len(order) - 1; last >= 0 && n+len(ids[order[last]]) <= rows; last-- {
			pass, n, order = append(pass, order[last]), n+len(ids[order[last]]), order[:last]
		}
		all = append(all, pass)
	}
	return all
}

// embedding is what a model's files say of the embeddings it makes.
type embedding struct {
	width     int
	limit     int // tokens of a text
	prompts   map[string]string
	byDefault string // prompt, "" for none
}

// Prompts are the texts that tell the model what an embedding is for, by their
// names: "query", "document", "STS", "Clustering", …; those that
// config_sentence_transformers.json states beside the weights, and those that
// EmbeddingGemma's makers published. It is empty if there are none.
func (m *Model) Prompts() (map[string]string, error) {
	e, err := m.enterEmbedding()
	if err != nil {
		return nil, err
	}
	return maps.Clone(e.prompts), nil
}

// EmbeddingWidth is how many numbers an embedding has, 0 if the model makes
// none.
func (m *Model) EmbeddingWidth() int { return m.core.Config().Head.Pooled }

func (m *Model) enterEmbedding() (*embedding, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	return m.embedding()
}

// published are the prompts of EmbeddingGemma's model card, by the names of its
// config_sentence_transformers.json and two that only the card has.
var published = map[string]string{
	"query":                    "task: search result | query: ",
	"document":                 "title: none | text: ",
	"BitextMining":             "task: search result | query: ",
	"Clustering":               "task: clustering | query: ",
	"Classification":           "task: classification | query: ",
	"InstructionRetrieval":     "task: code retrieval | query: ",
	"MultilabelClassification": "task: classification | query: ",
	"PairClassification":       "task: sentence similarity | query: ",
	"Reranking":                "task: search result | query: ",
	"Retrieval":                "task: search result | query: ",
	"Retrieval-query":          "task: search result | query: ",
	"Retrieval-document":       "title: none | text: ",
	"STS":                      "task: sentence similarity | query: ",
	"Summarization":            "task: summarization | query: ",
	"QuestionAnswering":        "task: question answering | query: ",
	"FactChecking":             "task: fact checking | query: ",
}

// readEmbedding reads what sentence-transformers keeps beside the weights.
func (m *Model) readEmbedding() (*embedding, error) {
	c := m.core.Config()
	if c.Head.Pooled == 0 {
		return nil, fmt.Errorf("%s %w: take a model that was made for it, such as embeddinggemma:300m", m.local.Name, ErrNoEmbeddings)
	}
	e := &embedding{width: c.Head.Pooled, limit: c.Context, prompts: map[string]string{}}
	if strings.HasPrefix(c.Family, "gemma3") || strings.HasPrefix(c.Family, "gemma-embedding") {
		maps.Copy(e.prompts, published)
	}
	if err := m.checkPooling(); err != nil {
		return nil, err
	}
	var settings struct {
		Prompts map[string]string `json:"prompts"`
		Default *string           `json:"default_prompt_name"`
	}
	var length struct {
		Max int `json:"max_seq_length"`
	}
	err := cmp.Or(m.sibling("config_sentence_transformers.json", &settings), m.sibling("sentence_bert_config.json", &length))
	if err != nil {
		return nil, err
	}
	maps.Copy(e.prompts, settings.Prompts)
	if length.Max > 0 {
		e.limit = min(e.limit, length.Max)
	}
	if settings.Default != nil {
		e.byDefault = *settings.Default
	}
	return e, nil
}

// checkPooling refuses a model whose vectors are not the mean over all tokens.
func (m *Model) checkPooling() error {
	pooling := struct {
		Mean   bool `json:"pooling_mode_mean_tokens"`
		Prompt bool `json:"include_prompt"`
	}{true, true}
	if err := m.sibling("1_Pooling/config.json", &pooling); err != nil {
		return err
	}
	if !pooling.Mean || !pooling.Prompt {
		return fmt.Errorf("%s: 1_Pooling/config.json: mean of tokens %v, prompt included %v: only the mean of all tokens is supported", m.local.Path, pooling.Mean, pooling.Prompt)
	}
	return nil
}

// sibling reads a JSON file beside the weights, if it is there.
func (m *Model) sibling(name string, v any) error {
	data, err := m.checkpoint.Sibling(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", m.local.Path, name, err)
	}
	return nil
}

// prefix is what goes before each text.
func (e *embedding) prefix(o embedOptions) (string, error) {
	name := e.byDefault
	switch {
	case o.text != nil:
		return *o.text, nil
	case o.name != nil:
		name = *o.name
	case name == "":
		return "", nil
	}
	if text, ok := e.prompts[name]; ok {
		return text, nil
	}
	names := slices.Sorted(maps.Keys(e.prompts))
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return e.prompts[n], nil
		}
	}
	if len(names) == 0 {
		return "", fmt.Errorf("prompt %q %w: the model has none by name", name, generate.ErrParams)
	}
	return "", fmt.Errorf("prompt %q %w: want one of %s", name, generate.ErrParams, strings.Join(names, ", "))
}

// dimensions is how many numbers of a vector are kept.
func (e *embedding) dimensions(o embedOptions) (int, error) {
	if o.dimensions == nil {
		return e.width, nil
	}
	if n := *o.dimensions; n < 1 || n > e.width {
		return 0, fmt.Errorf("%d dimensions %w: the model has 1 to %d", n, generate.ErrParams, e.width)
	}
	return *o.dimensions, nil
}
