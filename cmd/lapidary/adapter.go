package main

import (
	"github.com/spf13/pflag"

	"lapidary"
)

func registerAdapters(fs *pflag.FlagSet, adapters *[]string) {
	fs.StringArrayVar(adapters, "adapter", nil,
		"run the LoRA or DoRA in a `FOLDER[:SHARE]` beside the weights; may be given several times, for their sum")
}

// adapterOptions are what --adapter asks for.
func adapterOptions(adapters []string) ([]lapidary.Option, error) {
	var opts []lapidary.Option
	for _, text := range adapters {
		name, by, err := lapidary.ParseAdapter(text)
		if err != nil {
			return nil, misuse("--adapter %s: %w", text, err)
		}
		opts = append(opts, lapidary.WithAdapter(name, by))
	}
	return opts, nil
}
