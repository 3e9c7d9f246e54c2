package eval

import (
	"errors"
	"fmt"
	"slices"
)

// Summary is what a run measured.
type Summary struct {
	Header
	Skipped int       `json:"skipped"`
	Results []Result  `json:"results"`
	Groups  []Partial `json:"groups,omitempty"` // if there are several
}

// Result is a metric over all examples.
type Result struct {
	Metric string `json:"metric"`
	Lower  bool   `json:"lower_is_better"`
	Estimate
	// OverGroups is the mean over the groups, 0 if there is only one.
	OverGroups float64 `json:"mean_over_groups,omitempty"`
}

// Partial is the figures of a group, in the order of Results.
type Partial struct {
	Group    string    `json:"group"`
	Examples int       `json:"examples"`
	Values   []float64 `json:"values"`
}

// Summarise derives the task's metrics from its records.
func Summarise(h Header, records []Record) (Summary, error) {
	s := Summary{Header: h}
	kept := answered(records)
	s.Skipped = len(records) - len(kept)
	if len(kept) == 0 {
		return s, fmt.Errorf("none of %d examples could be evaluated%s", len(records), firstReason(records))
	}
	stats, err := statistics(h.Metrics, kept)
	if err != nil {
		return s, err
	}
	for i, e := range bootstrap(len(kept), h.Seed, stats) {
		s.Results = append(s.Results, Result{Metric: h.Metrics[i], Lower: metrics[h.Metrics[i]].lower, Estimate: e})
	}
	s.addGroups(kept)
	return s, nil
}

func firstReason(records []Record) string {
	for _, r := range records {
		if r.Skipped != "" {
			return ": " + r.Skipped
		}
	}
	return ""
}

// answered are the records that were not skipped.
func answered(records []Record) []Record {
	return slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Skipped != "" })
}

func statistics(names []string, records []Record) ([]statistic, error) {
	var stats []statistic
	for _, name := range names {
		m, ok := metrics[name]
		if !ok {
			return nil, fmt.Errorf("metric %q is none: %s", name, suggest(name, Metrics()))
		}
		stats = append(stats, m.over(records))
	}
	if len(stats) == 0 {
		return nil, errors.New("there is no metric")
	}
	return stats, nil
}

func (s *Summary) addGroups(records []Record) {
	byGroup, names := map[string][]Record{}, []string{}
	for _, r := range records {
		if byGroup[r.Group] == nil {
			names = append(names, r.Group)
		}
		byGroup[r.Group] = append(byGroup[r.Group], r)
	}
	if len(names) < 2 {
		return
	}
	for _, name := range names {
		g := Partial{Group: name, Examples: len(byGroup[name])}
		at := make([]int, g.Examples)
		for i := range at {
			at[i] = i
		}
		for i := range s.Results {
			v := metrics[s.Results[i].Metric].over(byGroup[name])(at)
			g.Values = append(g.Values, v)
			s.Results[i].OverGroups += v / float64(len(names))
		}
		s.Groups = append(s.Groups, g)
	}
}

// Comparison is how a second run differs from a first one.
type Comparison struct {
	Task     string   `json:"task"`
	A        Header   `json:"a"`
	B        Header   `json:"b"`
	Examples int      `json:"examples"` // that both evaluated
	Alone    int      `json:"alone"`    // that one of them lacks or skipped
	Results  []Change `json:"results"`
}

// Change is a metric of both runs. Difference is B less A, over the same
// resamples of the pairs; it is Significant if its interval leaves out 0.
type Change struct {
	Metric      string   `json:"metric"`
	Lower       bool     `json:"lower_is_better"`
	A           Estimate `json:"a"`
	B           Estimate `json:"b"`
	Difference  Estimate `json:"difference"`
	Significant bool     `json:"significant"`
}

// Compare pairs the records of two runs over the same data by their IDs (paired
// bootstrap) and estimates the metrics that both have. Runs of other tasks or
// data are refused.
func Compare(ha Header, a []Record, hb Header, b []Record, seed uint64) (Comparison, error) {
	c := Comparison{Task: ha.Task, A: ha, B: hb}
	if ha.Task != hb.Task || ha.Data != hb.Data {
		return c, fmt.Errorf("the runs are of other examples (%s, %s): compare runs of one task over the same data", ha.what(), hb.what())
	}
	a, b, c.Alone = pair(answered(a), answered(b))
	if c.Examples = len(a); c.Examples == 0 {
		return c, errors.New("the runs have no example in common")
	}
	var names []string
	for _, name := range ha.Metrics {
		if slices.Contains(hb.Metrics, name) {
			names = append(names, name)
		}
	}
	before, err := statistics(names, a)
	if err != nil {
		return c, fmt.Errorf("nothing to compare: %w in both", err)
	}
	after, err := statistics(names, b)
	if err != nil {
		return c, err
	}
	var stats []statistic
	for i := range names {
		stats = append(stats, before[i], after[i], func(at []int) float64 { return after[i](at) - before[i](at) })
	}
	est := bootstrap(c.Examples, seed, stats)
	for i, name := range names {
		d := est[3*i+2]
		c.Results = append(c.Results, Change{name, metrics[name].lower, est[3*i], est[3*i+1], d, d.Low > 0 || d.High < 0})
	}
	return c, nil
}

// pair keeps what both have, in the order of the first.
func pair(a, b []Record) (pairedA, pairedB []Record, alone int) {
	other := map[string]Record{}
	for _, r := range b {
		other[r.ID] = r
	}
	for _, r := range a {
		if o, ok := other[r.ID]; ok {
			pairedA, pairedB = append(pairedA, r), append(pairedB, o)
		}
	}
	return pairedA, pairedB, len(a) + len(b) - 2*len(pairedA)
}
