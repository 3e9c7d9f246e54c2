// Package scratch makes models of random numbers: a folder in Hugging Face's
// layout that the rest of the program, and transformers, open like any other.
//
// [Make] takes the sizes from a recipe, or from a config.json, writes out the
// configuration, asks package gemma what layers it means, and draws the tensors
// of those. Nothing is said twice: a family is a table of how it spells its
// configuration (config.go) and its tensors (names.go).
//
// [Learn] makes a vocabulary of texts: byte pair encoding (Sennrich et al.
// 2016, arXiv:1508.07909) over characters in the manner of Gemma's own
// tokenizers, with bytes for what is not in it.
//
// # Random numbers
//
// Weights are drawn as transformers initialises them: normally distributed with
// a deviation of initializer_range (0.02) where a matrix or an embedding is
// meant, nothing at the padding token, and norms that multiply by one.
// RecurrentGemma has deviations of its own (arXiv:2402.19427). Each tensor has
// a generator of its own, which seed and name decide, so that a tensor does not
// change when others come or go.
package scratch
