package data

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report says what data is before a run begins.
type Report struct {
	Kind    string         `json:"kind"`
	Sources []SourceReport `json:"sources"`
	Total   SourceReport   `json:"total"`
	Classes map[string]int `json:"classes,omitempty"`
	// Near is the resemblance from which documents count as near duplicates; 0:
	// they were not looked for.
	Near float64 `json:"near,omitempty"`
	// LanguageMethod says how far Languages can be trusted.
	LanguageMethod string `json:"language_method"`
}

// SourceReport is a source, or all of them.
type SourceReport struct {
	Source string `json:"source,omitempty"`
	// Documents and Tokens are those read; Learnt are the tokens to be
	// predicted.
	Documents int   `json:"documents"`
	Tokens    int64 `json:"tokens"`
	Learnt    int64 `json:"learnt_tokens"`
	// Train and Validation are the documents of each side, which duplicates
	// that were left out are not among.
	Train            int   `json:"train_documents"`
	TrainTokens      int64 `json:"train_tokens"`
	Validation       int   `json:"validation_documents"`
	ValidationTokens int64 `json:"validation_tokens"`
	// Lengths are quantiles of the documents' tokens.
	Lengths   Lengths        `json:"lengths"`
	Exact     int            `json:"exact_duplicates"`
	Near      int            `json:"near_duplicates"`
	Languages map[string]int `json:"languages"`
	Skipped   int            `json:"skipped"`
	// Broken is the first record that was skipped.
	Broken string `json:"first_skipped,omitempty"`
}

// Lengths are the least, the greatest and the quantiles of documents' lengths
// in tokens.
type Lengths struct {
	Min    int     `json:"min"`
	P10    int     `json:"p10"`
	Median int     `json:"median"`
	P90    int     `json:"p90"`
	P99    int     `json:"p99"`
	Max    int     `json:"max"`
	Mean   float64 `json:"mean"`
}

func (s *Set) describe(d Dedup) Report {
	r := Report{Kind: s.Kind.String(), Near: d.Near, LanguageMethod: languageMethod, Total: SourceReport{Languages: map[string]int{}}}
	if s.Kind == Labelled {
		r.Classes = map[string]int{}
	}
	var all []int
	lengths := map[int][]int{} // by source
	var at []int               // the source of each line
	for _, l := range s.sources {
		if r.Classes != nil {
			for i := range l.cache.documents {
				r.Classes[s.Classes[l.classes[l.cache.entry(i).label]]]++
			}
		}
		sr, own := l.describe()
		r.Total.add(&sr)
		all = append(all, own...)
		lengths[l.origin] = append(lengths[l.origin], own...)
		if last := len(r.Sources) - 1; last >= 0 && l.origin == at[last] {
			r.Sources[last].add(&sr)
		} else {
			r.Sources, at = append(r.Sources, sr), append(at, l.origin)
		}
		r.Sources[len(r.Sources)-1].Lengths = quantiles(lengths[l.origin])
	}
	r.Total.Lengths = quantiles(all)
	return r
}

func (l *loaded) describe() (SourceReport, []int) {
	c := l.cache
	r := SourceReport{
		Source: c.meta.Source, Documents: c.documents, Tokens: c.tokens, Exact: l.exact, Near: l.near, Languages: map[string]int{},
		Skipped: c.meta.Skipped, Broken: c.meta.Broken,
		Train: len(l.sides[Train]), TrainTokens: l.tokens(Train), Validation: len(l.sides[Validation]), ValidationTokens: l.tokens(Validation),
	}
	lengths := make([]int, c.documents)
	for i := range c.documents {
		e := c.entry(i)
		for _, p := range e.parts {
			lengths[i] += p.length
			r.Learnt += int64(p.learnt)
		}
		r.Languages[c.meta.Languages[e.language]]++
	}
	r.Lengths = quantiles(lengths)
	return r, lengths
}

func (r *SourceReport) add(o *SourceReport) {
	r.Documents += o.Documents
	r.Tokens += o.Tokens
	r.Learnt += o.Learnt
	r.Train += o.Train
	r.TrainTokens += o.TrainTokens
	r.Validation += o.Validation
	r.ValidationTokens += o.ValidationTokens
	r.Exact += o.Exact
	r.Near += o.Near
	r.Skipped += o.Skipped
	if r.Broken == "" {
		r.Broken = o.Broken
	}
	for k, n := range o.Languages {
		r.Languages[k] += n
	}
}

// quantiles sorts lengths. A quantile is the least length that so many are not
// above.
func quantiles(lengths []int) Lengths {
	if len(lengths) == 0 {
		return Lengths{}
	}
	slices.Sort(lengths)
	at := func(percent int) int { return lengths[max(0, (len(lengths)*percent+99)/100-1)] }
	sum := 0
	for _, n := range lengths {
		sum += n
	}
	return Lengths{
		Min: lengths[0], P10: at(10), Median: at(50), P90: at(90), P99: at(99), Max: lengths[len(lengths)-1],
		Mean: float64(sum) / float64(len(lengths)),
	}
}

// Text writes the report for people.
func (r *Report) Text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "source\tdocuments\ttokens\tlearnt\ttrain\tvalidation\tlengths (median, p90, max)\texact dup.\tnear dup.\tskipped")
	total := r.Total
	total.Source = "total"
	for _, s := range append(slices.Clone(r.Sources), total) {
		near := fmt.Sprint(s.Near)
		if r.Near == 0 {
			near = "–"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d, %d, %d\t%d\t%s\t%d\n", s.Source, s.Documents, s.Tokens, s.Learnt, s.Train, s.Validation,
			s.Lengths.Median, s.Lengths.P90, s.Lengths.Max, s.Exact, near, s.Skipped)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "languages (%s): %s\n", r.LanguageMethod, shares(r.Total.Languages))
	if r.Near > 0 {
		fmt.Fprintf(out, "near duplicates: 5-word shingles that agree in %.0f %% or more, estimated from %d minima\n", 100*r.Near, signatureWidth)
	}
	if r.Classes != nil {
		fmt.Fprintf(out, "classes: %s\n", shares(r.Classes))
	}
	if r.Total.Skipped > 0 {
		fmt.Fprintf(out, "skipped %d records that cannot be used; the first: %s\n", r.Total.Skipped, r.Total.Broken)
	}
	return nil
}

// shares writes counts, the greatest first.
func shares(counts map[string]int) string {
	total := 0
	for _, n := range counts {
		total += n
	}
	keys := sortedKeys(counts)
	slices.SortStableFunc(keys, func(a, b string) int { return counts[b] - counts[a] })
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s %d (%.1f %%)", k, counts[k], 100*float64(counts[k])/float64(max(1, total))))
	}
	return strings.Join(out, ", ")
}
