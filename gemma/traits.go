package gemma

// trait is what a family's files leave unsaid.
type trait struct {
	family    string  // what Config.Family says
	pattern   int     // every pattern-th layer is global; 1: all are
	qkNorm    bool    // queries and keys are normalised
	postNorms bool    // four norms a block
	plain     bool    // norms by w, values normalised, scores as they are (Gemma 3n and 4)
	scalars   bool    // a number for each block
	tiedKV    bool    // on global layers, whatever the file says
	gated     bool    // global key-value heads count only where keys are values
	localBase float64 // rotary base of local layers; 0: the global one
	turning   float64 // part of a head that turns where the file names none; 0: all
	direction direction
	groups    groups
	prefix    bool // what precedes an answer sees all of itself
	window    int  // where a GGUF file names none, as the first ones of Gemma 2
	attCap    float64
	finalCap  float64 // soft caps where a GGUF file names none
	// wide is the layer count of the one size whose score scale comes from
	// width/heads and not from the head size (27B), for GGUF, which has no key
	// for it.
	wide int

	presumed  string // of config.json, where it has no such key, and not where it says null
	published string // sizes, where a model's part of config.json leaves them out
}

const (
	gemma2Caps  = `{"attn_logit_softcapping": 50, "final_logit_softcapping": 30, "query_pre_attn_scalar": 256}`
	gemma2Sizes = `{"hidden_size": 2304, "vocab_size": 256000, "max_position_embeddings": 8192, "num_hidden_layers": 26,
		"intermediate_size": 9216, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096}`
	gemma3Sizes = `{"hidden_size": 2304, "vocab_size": 262208, "max_position_embeddings": 131072, "num_hidden_layers": 26,
		"intermediate_size": 9216, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096}`
	gemma4Sizes = `{"hidden_size": 2304, "vocab_size": 262144, "max_position_embeddings": 131072, "num_hidden_layers": 30,
		"intermediate_size": 9216, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 512}`
	gemma4Ropes = `"rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 10000},
		"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000}}`
)

// traits by family. What transformers takes for granted is taken from its
// configuration classes, version 5.23.
var traits = map[string]trait{
	"gemma": {family: "gemma", pattern: 1,
		published: `{"hidden_size": 3072, "vocab_size": 256000, "max_position_embeddings": 8192, "num_hidden_layers": 28,
			"intermediate_size": 24576, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256}`},
	"gemma2": {family: "gemma2", pattern: 2, postNorms: true, attCap: 50, finalCap: 30, window: 4096, wide: 46,
		presumed: gemma2Caps, published: gemma2Sizes},
	"vaultgemma": {family: "vaultgemma", pattern: 2, presumed: gemma2Caps, published: gemma2Sizes},
	"gemma3": {family: "gemma3", pattern: 6, qkNorm: true, postNorms: true, localBase: 10000, groups: everywhere, wide: 62,
		presumed: `{"query_pre_attn_scalar": 256}`, published: gemma3Sizes},
	"gemma3n": {family: "gemma3n", pattern: 5, qkNorm: true, postNorms: true, plain: true, localBase: 10000,
		presumed: `{"final_logit_softcapping": 30, "hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144,
			"altup_num_inputs": 4, "laurel_rank": 64, "num_kv_shared_layers": 15}`,
		published: `{"hidden_size": 2048, "vocab_size": 262400, "max_position_embeddings": 32768, "num_hidden_layers": 35,
			"intermediate_size": 16384, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "sliding_window": 512}`},
	"gemma4": {family: "gemma4", pattern: 6, qkNorm: true, postNorms: true, plain: true, scalars: true, gated: true, localBase: 10000,
		presumed: `{"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144, "global_head_dim": 512,
			"enable_moe_block": false, ` + gemma4Ropes + `}`, published: gemma4Sizes},
	"gemma4_unified": {family: "gemma4_unified", pattern: 6, qkNorm: true, postNorms: true, plain: true, scalars: true, gated: true, localBase: 10000,
		presumed:  `{"global_head_dim": 512, "use_bidirectional_attention": "vision", "sliding_window": 1024, ` + gemma4Ropes + `}`,
		published: gemma4Sizes},
	"diffusion_gemma": {family: "diffusion_gemma", pattern: 6, qkNorm: true, postNorms: true, plain: true, scalars: true, tiedKV: true, localBase: 10000,
		presumed: `{"global_head_dim": 512, "final_logit_softcapping": 30, ` + gemma4Ropes + `}`, published: gemma4Sizes},
	"embedding_gemma2": {family: "embedding_gemma2", pattern: 6, qkNorm: true, postNorms: true, plain: true, scalars: true, localBase: 10000,
		direction: inclusive,
		presumed:  `{"hidden_size_per_layer_input": 512, "global_head_dim": 512, "embedding_dim": 768}`,
		published: `{"hidden_size": 512, "vocab_size": 262144, "max_position_embeddings": 262144, "num_hidden_layers": 24,
			"intermediate_size": 2048, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 256, "sliding_window": 512}`},
	"t5gemma": {family: "t5gemma", pattern: 2, postNorms: true, presumed: gemma2Caps, published: gemma2Sizes},
	"t5gemma2": {family: "t5gemma2", pattern: 6, qkNorm: true, postNorms: true, localBase: 10000,
		presumed: `{"query_pre_attn_scalar": 256}`, published: gemma3Sizes},
	"recurrent_gemma": {family: "recurrent_gemma", pattern: 1, turning: 0.5,
		presumed: `{"logits_soft_cap": 30, "conv1d_width": 4, "attention_window_size": 2048,
			"block_types": ["recurrent", "recurrent", "attention"], "max_position_embeddings": 1000000000}`},
}
