// Package convert says in GGUF what a Hugging Face folder says, and the other
// way round: names of tensors, the settings of the architecture, the tokenizer,
// and the weights of the norms, of which GGUF holds 1 + w and safetensors w up to
// Gemma 3. Of later families the one has as a tensor what the other has as several.
package convert
