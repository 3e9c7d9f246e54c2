package lapidary_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"lapidary"
	"lapidary/chat"
	"lapidary/generate"
)

// open opens the model of the examples, which is downloaded the first time.
func open() *lapidary.Model {
	m, err := lapidary.Open(context.Background(), "gemma3:270m-pt", lapidary.WithPull(nil))
	if err != nil {
		log.Fatal(err)
	}
	return m
}

func Example() {
	ctx := context.Background()
	m, err := lapidary.Open(ctx, "gemma3:270m-pt", lapidary.WithPull(nil))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	p := lapidary.Defaults()
	p.Temperature = 0 // always the most likely token
	p.Stop = []string{"\n"}
	for t, err := range m.Generate(ctx, "Q: What is the boiling point of water at sea level?\nA:", p) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(t.Text)
		if t.End != nil {
			fmt.Printf("\n%d tokens, then: %s", t.End.Tokens, t.End.Reason)
		}
	}
	// Output:
	// The boiling point of water at sea level is 100 degrees Celsius.
	// 17 tokens, then: stop
}

// The model "tiny" is built in: it needs no network, and makes no sense.
func ExampleOpen_offline() {
	ctx := context.Background()
	m, err := lapidary.Open(ctx, "tiny")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	p := lapidary.Defaults()
	p.Temperature, p.MaxTokens = 0, 12
	for t, err := range m.Generate(ctx, "What are the signs and symptoms of", p) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(t.Text)
	}
	// Output:
	// Metaphyseal dysplasia? The Human Phenotype Ontology
}

func ExampleModel_Score() {
	m := open()
	defer m.Close()
	// The first token of a text has nothing before it to be foretold from; the
	// model puts its own mark of beginning there.
	scores, err := m.Score(context.Background(), "The capital of France is Paris", 1)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range scores {
		fmt.Printf("%-10q %6.1f   likeliest: %q\n", s.Text, s.LogProb, s.Top[0].Text)
	}
	// Output:
	// "The"        -2.9   likeliest: "<h1>"
	// " capital"   -9.7   likeliest: " "
	// " of"        -0.9   likeliest: " of"
	// " France"    -5.1   likeliest: " the"
	// " is"        -1.4   likeliest: ","
	// " Paris"     -2.5   likeliest: " the"
}

func ExampleModel_Tokenize() {
	m := open()
	defer m.Close()
	text := "Grüße, 🦎!"
	for _, t := range m.Tokenize(text) {
		fmt.Printf("%6d %q\n", t.ID, text[t.From:t.To])
	}
	// Output:
	//   9322 "Gr"
	// 236959 "ü"
	//  16756 "ße"
	// 236764 ","
	// 236743 " "
	// 250873 "🦎"
	// 236888 "!"
}

func ExampleModel_Chat() {
	m := open()
	defer m.Close()
	for _, err := range m.Chat(context.Background(), []lapidary.Message{{Role: chat.User, Content: "Hello!"}}, lapidary.Defaults()) {
		if errors.Is(err, chat.ErrNoTemplate) {
			fmt.Println("a base model: it completes text")
		}
	}
	// Output:
	// a base model: it completes text
}

func ExampleParams() {
	p := lapidary.Defaults()
	p.TopP = 0 // would keep no token at all
	err := p.Check()
	fmt.Println(err, "|", errors.Is(err, generate.ErrParams))
	// Output:
	// top-p 0 cannot be obeyed: want more than 0 and at most 1 (all tokens) | true
}

func ExampleModel_NewSession() {
	ctx := context.Background()
	m, err := lapidary.Open(ctx, "tiny")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s := m.NewSession()
	defer s.Close()

	p := lapidary.Defaults()
	p.Temperature, p.MaxTokens = 0, 4
	text := m.Encode("The president of the United States")
	for range 2 {
		for t, err := range s.Generate(ctx, text, p) {
			if err != nil {
				log.Fatal(err)
			}
			text = append(text, t.ID)
			if t.End != nil {
				fmt.Printf("%d of %d tokens were known already\n", t.End.CachedTokens, t.End.PromptTokens)
			}
		}
	}
	fmt.Println(m.Detokenize(text))
	// Output:
	// 0 of 10 tokens were known already
	// 13 of 14 tokens were known already
	// The president of the United States, making sure that the fun
}
