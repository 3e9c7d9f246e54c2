// Package convert says in GGUF what a Hugging Face folder says, and the other
// way round: names of tensors, the settings of the architecture, the tokenizer,
// and the weights of the norms, of which GGUF holds 1 + w and safetensors w.
package convert
