// Package tokenizer turns text into Gemma's token ids and back, byte for byte.
//
// # What it computes
//
// Gemma's tokenizer is a SentencePiece byte-pair encoding: the text is cut into
// characters, and the neighbouring pair whose concatenation is the best-scored
// piece of the vocabulary is merged, the leftmost first among equals, until no
// pair is a piece. Three things surround the merging:
//
//   - User-defined pieces (runs of spaces, newlines and tabs, HTML tags) are cut
//     out before it, the longest at each place, and never merge with neighbours.
//   - A character no piece spells becomes one byte token for each of its bytes.
//   - A space is spelled "▁" (U+2581) in the vocabulary. Nothing else is
//     normalised, and Gemma puts no space in front of the text.
//
// The source is Kudo and Richardson, "SentencePiece: A simple and language
// independent subword tokenizer and detokenizer for Neural Text Processing"
// (EMNLP 2018), and the ids agree with that library's, except as said below.
//
// # Sources
//
// [FromMetadata] reads a GGUF file's metadata, [FromModel] SentencePiece's
// tokenizer.model, [FromJSON] Hugging Face's tokenizer.json; [Open] picks the one
// a checkpoint has. All of them make the same tokenizer of the same vocabulary.
// A file that asks for something this package does not do (a normalisation, a
// unigram model) is refused with the reason, never read approximately.
//
// # Control tokens
//
// Tokens that carry no text, such as <bos>, <start_of_turn> or <unused7>, are
// control tokens. [Tokenizer.Encode] never yields one: a user who types
// "<end_of_turn>" has typed punctuation and letters, and cannot end a turn.
// [Tokenizer.EncodeSpecial] recognises them, for prompts the program wrote
// itself. SentencePiece draws that line elsewhere (Gemma's tokenizer.model lists
// all but <pad>, <eos>, <bos> and <unk> as user-defined, so that it would match
// them in any text), as do GGUF files among themselves; here a piece is a control
// token when its file says so or when it is spelled like one:
//
//	<pad> <eos> <bos> <unk> <mask> <2mass> [@BOS@] [multimodal] <unusedN>
//	<start_of_…> <end_of_…> <…_soft_token> <|…> <…|>
//
// # Round trips
//
// For every string x of any bytes without U+2581, Decode of Encode(x)'s ids is
// x; the spans of the tokens tile every x. SentencePiece replaces each byte that
// is not valid UTF-8 by U+FFFD; here, deliberately, it becomes the byte token of
// that byte. All other text has the ids SentencePiece gives it. That includes "▁"
// in a text, which both read as the space it spells in the vocabulary: what a
// model was trained on goes before the round trip, and the span tells which of
// the two it was.
//
// Two vocabularies cannot keep the promise: one without byte tokens (unknown
// characters become the unknown token, which decodes to nothing), and one that
// asks for a space before the text, whose [Tokenizer.Decode] removes one leading
// space and so takes the ids of a whole text, not of a part. Gemma's are neither.
//
// A single token may be part of a character: join the bytes of tokens before
// reading them as UTF-8.
//
// # Cost
//
// A [Tokenizer] copies the vocabulary into one compact table and keeps nothing of
// its source: Gemma 3's takes 3.3 MB, and 6 ms of two threads from a GGUF file. The
// index that encoding needs, 2.4 MB and 10 ms in a program that has just started,
// is built when several texts or a long one are encoded; the first prompts take an index of
// the pieces that can occur in them, in under 1 ms. Decoding needs neither.
//
// Encoding takes O(n log n) in the longest stretch without a place where no
// piece continues (in most scripts: a word), O(n) in the text: 32 MB/s on a mixture
// of 26 scripts, code and emoji, of which Hugging Face's tokenizers take 7 MB/s (go
// run ./bench/tokens). All methods may be called from several goroutines at once.
package tokenizer
