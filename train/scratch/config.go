package scratch

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strconv"

	"lapidary/tokenizer"
	"lapidary/train/recipe"
)

type object = map[string]any

// softCap is a bound of logits or scores. transformers takes no whole number for
// one.
type softCap float64

// MarshalJSON writes 30 as 30.0.
func (c softCap) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(c), 'f', 1, 64), nil
}

// The caps that models were published with.
const (
	attentionCap softCap = 50
	logitsCap    softCap = 30
)

// families are how config.json of a family is spelled. Every one begins with
// what common says of its stack.
var families = map[string]func(r recipe.FromScratch, stack object, t *tokenizer.Tokenizer) (object, error){
	"gemma":           gemma1,
	"gemma2":          gemma2,
	"gemma3":          gemma3,
	"gemma4_unified":  gemma4,
	"recurrent_gemma": recurrent,
	"t5gemma":         t5gemma,
}

// configure is the config.json of a model with the recipe's sizes.
func configure(r recipe.FromScratch, t *tokenizer.Tokenizer) ([]byte, error) {
	if r.Config != "" {
		return os.ReadFile(r.Config)
	}
	family, ok := families[r.Family]
	if !ok {
		return nil, fmt.Errorf("from_scratch: family %q cannot be made of sizes alone; give a config.json as model.from_scratch.config", r.Family)
	}
	const most = 1 << 10 // package gemma's bound
	if r.Layers < 1 || r.Layers > most {
		return nil, fmt.Errorf("from_scratch: layers is %d, want 1 to %d", r.Layers, most)
	}
	if (r.Pictures != nil || r.Sounds != nil) && r.Family != "gemma4_unified" {
		return nil, fmt.Errorf("from_scratch: pictures and sounds need family gemma4_unified, and this is %s", r.Family)
	}
	c, err := family(r, common(r, t), t)
	if err != nil {
		return nil, err
	}
	maps.Copy(c, object{"dtype": "float32", "tie_word_embeddings": true})
	return json.MarshalIndent(c, "", "  ")
}

// common are the keys of every stack.
func common(r recipe.FromScratch, t *tokenizer.Tokenizer) object {
	ids := object{"bos_token_id": t.BOS(), "eos_token_id": 1, "pad_token_id": 0}
	if eos := t.EOS(); len(eos) > 0 {
		ids["eos_token_id"] = eos[0]
	}
	if id, ok := t.ID("<pad>"); ok {
		ids["pad_token_id"] = id
	}
	c := object{
		"hidden_size": r.Width, "num_hidden_layers": r.Layers, "intermediate_size": r.FeedForward,
		"num_attention_heads": r.Heads, "num_key_value_heads": r.KVHeads, "head_dim": r.HeadSize,
		"vocab_size": t.Len(), "max_position_embeddings": r.Context,
		"rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh", "initializer_range": 0.02,
		"attention_bias": false, "attention_dropout": 0, "tie_word_embeddings": true,
	}
	maps.Copy(c, ids)
	return c
}

func with(c object, more object) object {
	c = maps.Clone(c)
	maps.Copy(c, more)
	return c
}

// layerTypes makes every n-th layer a global one, as Pattern says.
func layerTypes(r recipe.FromScratch) []string {
	types := make([]string, r.Layers)
	for i := range types {
		types[i] = "sliding_attention"
		if r.Pattern > 0 && (i+1)%r.Pattern == 0 {
			types[i] = "full_attention"
		}
	}
	return types
}

func gemma1(_ recipe.FromScratch, stack object, _ *tokenizer.Tokenizer) (object, error) {
	return with(stack, object{
		"model_type": "gemma", "architectures": []string{"GemmaForCausalLM"}, "hidden_act": "gelu_pytorch_tanh",
		"rope_parameters": object{"rope_type": "default", "rope_theta": 1e4},
	}), nil
}

// gemma2Stack has the caps that Gemma 2 was published with; scores are scaled by
// the head's own size.
func gemma2Stack(r recipe.FromScratch, stack object) object {
	return with(stack, object{
		"sliding_window": r.Window, "layer_types": layerTypes(r), "query_pre_attn_scalar": r.HeadSize,
		"attn_logit_softcapping": attentionCap, "final_logit_softcapping": logitsCap,
		"rope_parameters": object{"rope_type": "default", "rope_theta": 1e4},
	})
}

func gemma2(r recipe.FromScratch, stack object, _ *tokenizer.Tokenizer) (object, error) {
	return with(gemma2Stack(r, stack), object{"model_type": "gemma2", "architectures": []string{"Gemma2ForCausalLM"}}), nil
}

func gemma3(r recipe.FromScratch, stack object, _ *tokenizer.Tokenizer) (object, error) {
	return with(stack, object{
		"model_type": "gemma3_text", "architectures": []string{"Gemma3ForCausalLM"},
		"sliding_window": r.Window, "layer_types": layerTypes(r), "query_pre_attn_scalar": r.HeadSize,
		"attn_logit_softcapping": nil, "final_logit_softcapping": nil, "use_bidirectional_attention": false,
		"rope_parameters": object{
			"full_attention":    object{"rope_type": "default", "rope_theta": 1e6},
			"sliding_attention": object{"rope_type": "default", "rope_theta": 1e4},
		},
	}), nil
}

// gemma4 is a Gemma 4 unified. Its global layers have heads as wide as the
// others: the published ones' are twice as wide, which small models have no use
// for. transformers makes the last layer a global one whatever is asked for.
func gemma4(r recipe.FromScratch, stack object, t *tokenizer.Tokenizer) (object, error) {
	types := layerTypes(r)
	types[len(types)-1] = "full_attention"
	text := with(stack, object{
		"model_type": "gemma4_unified_text", "sliding_window": r.Window, "layer_types": types,
		"global_head_dim": r.HeadSize, "attention_k_eq_v": false, "num_kv_shared_layers": 0, "use_double_wide_mlp": false,
		"final_logit_softcapping": logitsCap, "use_bidirectional_attention": "vision",
		"rope_parameters": object{
			"full_attention":    object{"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
			"sliding_attention": object{"rope_type": "default", "rope_theta": 1e4},
		},
	})
	if r.Pictures == nil && r.Sounds == nil {
		text["architectures"] = []string{"Gemma4UnifiedForCausalLM"}
		return text, nil
	}
	c := object{
		"model_type": "gemma4_unified", "architectures": []string{"Gemma4UnifiedForConditionalGeneration"},
		"text_config": text, "vision_config": nil, "audio_config": nil, "initializer_range": 0.02,
	}
	if p := r.Pictures; p != nil {
		c["vision_config"] = object{
			"model_type": "gemma4_unified_vision", "patch_size": p.Patch, "pooling_kernel_size": p.Pooling, "mm_posemb_size": p.Places,
			"mm_embed_dim": r.Width, "output_proj_dims": r.Width, "rms_norm_eps": 1e-6, "initializer_range": 0.02,
		}
	}
	if s := r.Sounds; s != nil {
		c["audio_config"] = object{
			"model_type": "gemma4_unified_audio", "audio_embed_dim": s.Samples, "output_proj_dims": s.Samples,
			"rms_norm_eps": 1e-6, "initializer_range": 0.02,
		}
	}
	return c, mediaIDs(c, t)
}

// mediaIDs says which tokens stand for what is not text.
func mediaIDs(c object, t *tokenizer.Tokenizer) error {
	for key, piece := range map[string]string{
		"boi_token_id": "<|image>", "image_token_id": "<|image|>", "eoi_token_id": "<image|>", "video_token_id": "<|video|>",
		"boa_token_id": "<|audio>", "audio_token_id": "<|audio|>", "eoa_token_index": "<audio|>",
	} {
		id, ok := t.ID(piece)
		if !ok {
			return fmt.Errorf("from_scratch: the tokenizer has no %s, which stands for what is not text; learn one (vocab: {train: N}) or take a Gemma 4's", piece)
		}
		c[key] = id
	}
	return nil
}

// recurrent is Griffin's pattern: two recurrences, then a local attention. Its
// feed-forward is stated twice as wide as it is. transformers makes the heads
// as wide as the model all together.
func recurrent(r recipe.FromScratch, stack object, _ *tokenizer.Tokenizer) (object, error) {
	if r.Heads*r.HeadSize != r.Width {
		return nil, fmt.Errorf("from_scratch: %d heads of %d make %d, and a recurrent_gemma's make its width, %d; set head_size to width/heads",
			r.Heads, r.HeadSize, r.Heads*r.HeadSize, r.Width)
	}
	return with(stack, object{
		"model_type": "recurrent_gemma", "architectures": []string{"RecurrentGemmaForCausalLM"},
		"intermediate_size": 2 * r.FeedForward, "attention_window_size": r.Window, "block_types": []string{"recurrent", "recurrent", "attention"},
		"conv1d_width": 4, "lru_width": r.Width, "logits_soft_cap": logitsCap,
		"w_init_variance_scale": 0.01, "final_w_init_variance_scale": 2 / float64(r.Layers),
		"rope_parameters": object{"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
	}), nil
}

// t5gemma has an encoder and a decoder of the same sizes.
func t5gemma(r recipe.FromScratch, stack object, _ *tokenizer.Tokenizer) (object, error) {
	half := with(gemma2Stack(r, stack), object{"model_type": "t5_gemma_module", "dropout_rate": 0})
	return object{
		"model_type": "t5gemma", "architectures": []string{"T5GemmaForConditionalGeneration"}, "is_encoder_decoder": true,
		"encoder": with(half, object{"is_decoder": false}), "decoder": with(half, object{"is_decoder": true, "cross_attention_hidden_size": r.Width}),
		"vocab_size": half["vocab_size"], "pad_token_id": half["pad_token_id"], "bos_token_id": half["bos_token_id"], "eos_token_id": half["eos_token_id"],
		"dropout_rate": 0, "classifier_dropout_rate": 0, "attention_dropout": 0, "initializer_range": 0.02,
	}, nil
}
