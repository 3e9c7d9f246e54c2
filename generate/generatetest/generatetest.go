// Package generatetest makes language models small enough to know by heart:
// what follows a token depends on that token alone, by a table. They are real
// GGUF files of the Gemma 1 architecture with a tokenizer, so that everything
// from opening a file to the last flag of a command can be tried on them in
// milliseconds.
package generatetest

import (
	"fmt"
	"math"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

// Unlikely is the logit of a token that no edge names.
const Unlikely = -20

// Table says what follows: the logits of the tokens that may come after a
// token, both by their pieces. Pieces are those of [Pieces].
type Table map[string]map[string]float32

// Chain adds to t that each of the pieces is followed by the next.
func (t Table) Chain(pieces ...string) Table {
	for i := 1; i < len(pieces); i++ {
		if t[pieces[i-1]] == nil {
			t[pieces[i-1]] = map[string]float32{}
		}
		t[pieces[i-1]][pieces[i]] = 0
	}
	return t
}

// Pieces is the vocabulary: control tokens, the 256 bytes, the printable ASCII
// characters with ▁ for the space. An id is an index.
func Pieces() []string {
	p := []string{"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"}
	for b := range 256 {
		p = append(p, fmt.Sprintf("<0x%02X>", b))
	}
	p = append(p, "▁")
	for c := '!'; c <= '~'; c++ {
		p = append(p, string(c))
	}
	return p
}

// ID is the id of a piece, -1 of what is none.
func ID(piece string) int32 {
	for i, p := range Pieces() {
		if p == piece {
			return int32(i)
		}
	}
	return -1
}

// WriteGGUF writes the model of a table with room for context tokens. Extra
// metadata, such as a chat template, may be nil.
func WriteGGUF(path string, t Table, context int, extra map[string]any) error {
	pieces := Pieces()
	meta := map[string]any{
		"general.architecture": "gemma", "general.name": "Bigram",
		"gemma.embedding_length": uint32(width), "gemma.context_length": uint32(context), "gemma.block_count": uint32(1),
		"gemma.feed_forward_length": uint32(small), "gemma.attention.head_count": uint32(1), "gemma.attention.head_count_kv": uint32(1),
		"gemma.attention.key_length": uint32(small), "gemma.attention.value_length": uint32(small),
		"gemma.attention.layer_norm_rms_epsilon": float32(1e-6),
		"tokenizer.ggml.model":                   "llama", "tokenizer.ggml.tokens": pieces,
		"tokenizer.ggml.scores": scores(len(pieces)), "tokenizer.ggml.token_type": kinds(len(pieces)),
		"tokenizer.ggml.bos_token_id": uint32(2), "tokenizer.ggml.eos_token_id": uint32(1),
		"tokenizer.ggml.unknown_token_id": uint32(3), "tokenizer.ggml.padding_token_id": uint32(0),
		"tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.add_space_prefix": false,
	}
	for k, v := range extra {
		meta[k] = v
	}
	return checkpointtest.WriteGGUF(path, meta, tensors(pieces, t))
}

const (
	controls, byteTokens = 6, 256
	// Engines take rows of whole vectors of 8, and rotate halves of heads so.
	width, small = 360, 16
)

// kinds are the token types of the GGUF specification: 1 normal, 2 unknown,
// 3 control, 6 byte.
func kinds(n int) []int32 {
	k := make([]int32, n)
	for i := range k {
		switch {
		case i == 3:
			k[i] = 2
		case i < controls:
			k[i] = 3
		case i < controls+byteTokens:
			k[i] = 6
		default:
			k[i] = 1
		}
	}
	return k
}

func scores(n int) []float32 {
	s := make([]float32, n)
	for i := controls + byteTokens; i < n; i++ {
		s[i] = -float32(i)
	}
	return s
}

// tensors makes a model whose block adds nothing: the embedding is the
// identity, so that the head's column of a token is what follows it. The norm
// makes a one-hot row of width D into √D at its place.
func tensors(pieces []string, t Table) []checkpoint.Tensor {
	n := len(pieces)
	embed, head, ones := make([]float32, n*width), make([]float32, n*width), make([]float32, width)
	scale := float32(1 / math.Sqrt(width))
	for from := range n {
		embed[from*width+from] = 1
		for to := range n {
			x, ok := t[pieces[from]][pieces[to]]
			if !ok {
				x = Unlikely
			}
			head[to*width+from] = x * scale
		}
	}
	for i := range ones {
		ones[i] = 1
	}
	f := checkpointtest.FloatTensor
	zero := func(name string, rows, cols int) checkpoint.Tensor {
		return f("layers.0."+name+".weight", make([]float32, rows*cols), rows, cols)
	}
	return []checkpoint.Tensor{
		f("embed_tokens.weight", embed, n, width), f("norm.weight", ones, width), f("lm_head.weight", head, n, width),
		f("layers.0.input_layernorm.weight", ones, width), f("layers.0.post_attention_layernorm.weight", ones, width),
		zero("self_attn.q_proj", small, width), zero("self_attn.k_proj", small, width),
		zero("self_attn.v_proj", small, width), zero("self_attn.o_proj", width, small),
		zero("mlp.gate_proj", small, width), zero("mlp.up_proj", small, width), zero("mlp.down_proj", width, small),
	}
}
