package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"lapidary/engine/cpu/kernel"
)

// bench is a run: the file, the two sides, how often.
type bench struct {
	context.Context
	options
	file  string
	sides []*side // lapidary, llama.cpp
}

// turns measures a test on each side, in turn, and returns the medians. A side
// that reaches the test's limit is not asked again.
func (b *bench) turns(file string, t test, sides ...*side) ([]float64, error) {
	if t.threads == 0 {
		t.threads = b.threads
	}
	speeds := make([][]float64, len(sides))
	for range b.rounds {
		for i, s := range sides {
			if n := len(speeds[i]); s == nil || n > 0 && math.IsNaN(speeds[i][n-1]) {
				speeds[i] = append(speeds[i], math.NaN())
				continue
			}
			v, err := s.speed(b, file, t)
			if err != nil {
				return nil, err
			}
			speeds[i] = append(speeds[i], v)
		}
	}
	medians := make([]float64, len(sides))
	for i, v := range speeds {
		medians[i] = median(v)
	}
	return medians, nil
}

// median is NaN where one of the values is.
func median(v []float64) float64 {
	if len(v) == 0 || slices.ContainsFunc(v, math.IsNaN) {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// about says what a section was measured with.
func (b *bench) about() string {
	parts := []string{cmp.Or(b.sides[0].CPU, b.sides[1].CPU), "kernels " + kernel.All()[0].Name, fmt.Sprintf("%d threads", b.threads),
		fmt.Sprintf("medians of %d", b.rounds), time.Now().UTC().Format("2 January 2006")}
	for _, s := range b.sides {
		if v := s.version(); v != "" {
			parts = append(parts, s.name+" "+v)
		}
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return "*" + strings.Join(parts, ", ") + "*"
}
