package main

import (
	"strings"

	"github.com/spf13/pflag"

	"lapidary"
)

func registerAdapters(fs *pflag.FlagSet, adapters *[]string) {
	fs.StringArrayVar(adapters, "adapter", nil,
		"run the LoRA or DoRA in a `FOLDER[:SHARE]`, or of hf:org/repo, beside the weights; given several times, their sum")
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

// remoteAdapters are those that can be pulled.
func remoteAdapters(adapters []string) (names []string) {
	for _, text := range adapters {
		if name, _, err := lapidary.ParseAdapter(text); err == nil && strings.HasPrefix(name, "hf:") {
			names = append(names, name)
		}
	}
	return names
}
