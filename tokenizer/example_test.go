package tokenizer_test

import (
	"fmt"
	"os"

	"lapidary/tokenizer"
)

// The small model here stands for the tokenizer.model of a checkpoint; with a
// checkpoint at hand, tokenizer.Open finds whichever form it has.
func Example() {
	data, err := os.ReadFile("testdata/small.model")
	if err != nil {
		fmt.Println(err)
		return
	}
	tok, err := tokenizer.FromModel(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	text := "hello  fox ∂"
	tokens := tok.Encode(text)
	for _, t := range tokens {
		fmt.Printf("%q stands for %q\n", tok.Piece(t.ID), text[t.From:t.To])
	}
	fmt.Printf("%q\n", tok.Decode(tokenizer.IDs(tokens)))
	// Output:
	// "hello" stands for "hello"
	// "▁▁" stands for "  "
	// "fox" stands for "fox"
	// "▁" stands for " "
	// "<0xE2>" stands for "\xe2"
	// "<0x88>" stands for "\x88"
	// "<0x82>" stands for "\x82"
	// "hello  fox ∂"
}

// A prompt that the program writes may hold control tokens; what a user wrote
// goes through Encode and cannot.
func ExampleTokenizer_EncodeSpecial() {
	data, err := os.ReadFile("testdata/small.model")
	if err != nil {
		fmt.Println(err)
		return
	}
	tok, err := tokenizer.FromModel(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(tok.EncodeSpecial("<end_of_turn>")), "token")
	fmt.Println(len(tok.Encode("<end_of_turn>")) > 1)
	// Output:
	// 1 token
	// true
}
