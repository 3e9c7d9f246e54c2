package data_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"lapidary/train/data"
)

// A file of questions and answers becomes batches in which only answers are
// learnt.
func Example() {
	dir, err := os.MkdirTemp("", "data")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "pairs.jsonl")
	lines := `{"question": "1+1", "answer": "2"}` + "\n" + `{"question": "2+2", "answer": "4"}` + "\n"
	if err := os.WriteFile(path, []byte(lines), 0o644); err != nil {
		fmt.Println(err)
		return
	}
	source := data.Source{Path: path, Prompt: "{question}=", Answer: "answer"}
	set, err := data.Prepare(context.Background(), []data.Source{source}, bytesTokenizer{}, data.Settings{Folder: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer set.Close()
	stream, err := set.Stream(data.Train, data.Drawing{Lines: 1, Length: 16, Epochs: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	batch, err := stream.Next(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(text(batch.Tokens[:14]), batch.Documents)
	fmt.Println(batch.Loss)
	// Output:
	// ^1+1=2$^2+2=4$ [[7 7]]
	// [0 0 0 0 0 1 1 0 0 0 0 0 1 1 0 0]
}
