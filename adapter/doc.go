// Package adapter reads, writes and makes low-rank adapters of linear layers in
// the file format of Hugging Face's PEFT: a folder with adapter_config.json and
// adapter_model.safetensors.
//
//   - LoRA (Hu et al. 2021, arXiv:2106.09685): y = W·x + s·B·A·x with A [r, in],
//     B [out, r] and s = alpha / r;
//   - rsLoRA (Kalajdzievski 2023, arXiv:2312.03732): s = alpha / √r;
//   - DoRA (Liu et al. 2024, arXiv:2402.09353): each output's row of W + s·B·A is
//     made as long as its magnitude m says: y = m / ‖W + s·B·A‖ · (W + s·B·A)·x.
//
// # Concepts
//
// An [Adapter] is a list of [Module]s, one for each linear layer that is changed.
// A module goes by the layer's canonical name (that of package checkpoint, without
// ".weight"), so that it fits a safetensors folder and a GGUF file alike, and
// keeps the path that PEFT knows it by. [Adapter.Check] compares it with the
// [Linear]s of a model. [Module.Merge] is the weight that an adapter makes of a
// layer's; package gemma runs adapters beside the weights instead.
//
// # Caveats
//
// What a configuration asks for and cannot be obeyed is refused by [Open] with
// the reason: embeddings, convolutions, experts' weights, biases, modules that
// are stored whole, and relatives of LoRA that compute something else.
package adapter
