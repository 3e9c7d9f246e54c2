package eval

import (
	"maps"
	"math"
	"slices"
)

// way is how a metric is measured.
type way int

const (
	byChoice  way = iota // the log-likelihood of each choice
	byAnswer             // the log-likelihood of the given answer
	byWriting            // an answer that the model writes
)

// metric is a figure over many records.
type metric struct {
	way   way
	lower bool // is better
	over  func(rs []Record) statistic
}

// statistic is a metric of the records at some places, with repetitions.
type statistic func(at []int) float64

var metrics = map[string]metric{
	"accuracy":          {way: byChoice, over: mean("accuracy")},
	"accuracy_norm":     {way: byChoice, over: mean("accuracy_norm")},
	"balanced_accuracy": {way: byChoice, over: balanced},
	"perplexity":        {way: byAnswer, lower: true, over: perplexity},
	"bits_per_byte":     {way: byAnswer, lower: true, over: bitsPerByte},
	"exact":             {way: byWriting, over: mean("exact")},
	"f1":                {way: byWriting, over: mean("f1")},
	"rouge1":            {way: byWriting, over: mean("rouge1")},
	"rouge2":            {way: byWriting, over: mean("rouge2")},
	"rougeL":            {way: byWriting, over: mean("rougeL")},
	"pass":              {way: byWriting, over: mean("pass")},
}

// Metrics names the metrics there are.
func Metrics() []string { return slices.Sorted(maps.Keys(metrics)) }

// mean is that of a score that each record has by itself.
func mean(name string) func([]Record) statistic {
	return func(rs []Record) statistic {
		values := make([]float64, len(rs))
		for i, r := range rs {
			values[i] = r.Scores[name]
		}
		return func(at []int) float64 {
			sum := 0.0
			for _, i := range at {
				sum += values[i]
			}
			return sum / float64(len(at))
		}
	}
}

// perplexity is e to the mean negative log-likelihood of a token.
func perplexity(rs []Record) statistic {
	ratio := ratioOf(rs, func(l *Likelihood) float64 { return float64(l.Tokens) })
	return func(at []int) float64 { return math.Exp(ratio(at)) }
}

// bitsPerByte is the mean negative log-likelihood of a byte, to the base of two.
func bitsPerByte(rs []Record) statistic {
	ratio := ratioOf(rs, func(l *Likelihood) float64 { return float64(l.Bytes) })
	return func(at []int) float64 { return ratio(at) / math.Ln2 }
}

func ratioOf(rs []Record, per func(*Likelihood) float64) statistic {
	above, below := make([]float64, len(rs)), make([]float64, len(rs))
	for i, r := range rs {
		if r.Likelihood != nil {
			above[i], below[i] = r.Likelihood.NLL, per(r.Likelihood)
		}
	}
	return func(at []int) float64 {
		a, b := 0.0, 0.0
		for _, i := range at {
			a += above[i]
			b += below[i]
		}
		return a / b
	}
}

// balanced is the mean over the labels of the share of their examples that got
// them. A label that a resample lacks is left out of it.
func balanced(rs []Record) statistic {
	labels := map[string]int{}
	label, right := make([]int, len(rs)), make([]float64, len(rs))
	for i, r := range rs {
		name := ""
		if len(r.Expected) > 0 {
			name = r.Expected[0]
		}
		if _, ok := labels[name]; !ok {
			labels[name] = len(labels)
		}
		label[i], right[i] = labels[name], r.Scores["accuracy"]
	}
	hits, all := make([]float64, len(labels)), make([]float64, len(labels))
	return func(at []int) float64 {
		clear(hits)
		clear(all)
		for _, i := range at {
			hits[label[i]] += right[i]
			all[label[i]]++
		}
		sum, n := 0.0, 0.0
		for l := range all {
			if all[l] > 0 {
				sum += hits[l] / all[l]
				n++
			}
		}
		return sum / n
	}
}
