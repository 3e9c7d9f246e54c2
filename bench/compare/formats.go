package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// formats measures files of other formats, which lapidary makes of the model
// one at a time: together they would take 3 GB.
func (b *bench) formats() (string, error) {
	formats := []string{"Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16", "F32"}
	if b.quick {
		formats = []string{"Q4_0", "Q8_0"}
	}
	folder, err := scratch()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // leaves a file in the cache at worst
	t := table{{"format", "file", "prefill, 512", "llama.cpp", "ratio", "decode", "llama.cpp", "ratio"}}
	for _, name := range formats {
		row, err := b.format(name, filepath.Join(folder, name+".gguf"))
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		t.add(row...)
	}
	return t.String(), nil
}

// scratch is a folder on a disk: temporary folders are in memory on some
// machines.
func scratch() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "lapidary")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(cache, "bench-")
}

// format makes a file and measures it on both sides.
func (b *bench) format(name, file string) ([]string, error) {
	if _, err := output(exec.CommandContext(b, b.ours, "quantize", b.file, file, "--type", name)); err != nil {
		return nil, err
	}
	defer os.Remove(file) //nolint:errcheck // the folder goes as well
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	row := []string{name, unit(float64(info.Size())/1e6, "MB")}
	for _, x := range []test{{prompt: 512}, {gen: 128}} {
		v, err := b.turns(file, x, b.sides...)
		if err != nil {
			return nil, err
		}
		row = append(row, unit(v[0], "tok/s"), unit(v[1], "tok/s"), ratio(v[0]/v[1]))
	}
	return row, nil
}
