// Package checkpoint turns model files into named tensors: GGUF of versions 2
// and 3, and safetensors, as single files or as Hugging Face folders. It knows
// formats and names; what a tensor means is the business of package gemma.
//
// # Memory
//
// A checkpoint is a memory map. Opening one reads its tables and nothing else:
// no tensor is touched and none is copied, so that opening costs a millisecond
// whatever the model's size, and the pages of the weights are shared between
// processes. Whatever is handed out as bytes aliases the map:
//
//   - it is read-only, and writing to it ends the process;
//   - it is gone after Close, and reading it then ends the process too;
//   - it changes when the file does. A file that is shortened while it is
//     mapped makes the operating system end the process at the next read of
//     what is gone. That is beyond what this package can guard against:
//     replace a model by renaming a new file over the old one, which leaves
//     the map as it was.
//
// Data of GGUF tensors starts at a multiple of at least 8 bytes. safetensors
// promises no alignment: read its elements byte by byte, or with instructions
// that do not mind.
//
// # Names
//
// Tensors go by one set of names whatever the file calls them: those of
// Hugging Face's text models without a leading "model." or "language_model.",
// such as "layers.3.self_attn.q_proj.weight". The mapping is a table; names it
// does not have, those of vision towers for instance, stay as they are. Two
// tensors that come to have the same name are an error.
//
// Values are those of the file. GGUF stores the weights of Gemma's norms with
// one already added and safetensors without, and this package leaves both so.
//
// # Shapes and formats
//
// [Tensor.Shape] has the outermost axis first, so a linear layer is [outputs,
// inputs]; GGUF files have it the other way round. The elements of a row, the
// innermost axis, are packed in blocks, and [Dequantize] unpacks any whole
// number of blocks. The layout of each format is documented beside its code.
//
// A GGUF file with a tensor of another format is refused: without the format
// there is no knowing where its data ends. In a safetensors file the offsets
// say so, therefore a tensor of another dtype (an int64 buffer, 8-bit floats)
// is listed with a [Type] that is not [Type.Known], and it is an error to
// dequantize it.
//
// # Hostile files
//
// Every count, length, dimension and offset is checked against the file before
// it is used, and nothing is allocated because a number in a file says so.
// Tensors may not overlap. A damaged file gives a [FormatError] with the
// offset, the field and the problem. Shards and siblings are named inside
// their folder, but they may be links that lead out of it: the Hugging Face
// cache is made of such links.
//
// Big-endian GGUF, GGUF of version 1, arrays of arrays in metadata, and pickled
// PyTorch files are refused.
package checkpoint
