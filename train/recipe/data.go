package recipe

import (
	"fmt"
	"os"
	"strings"

	"lapidary/train/data"
)

// Data is the section of that name. It may be written as the list of its
// sources alone.
type Data struct {
	Sources []data.Source `yaml:"sources"`
	Dedup   data.Dedup    `yaml:"dedup"`
}

// kinds are what the objectives learn from.
var kinds = map[ObjectiveKind]data.Kind{
	NextToken: data.Texts, Supervised: data.Texts, GRPO: data.Texts, Distill: data.Texts, SpanDenoise: data.Texts,
	Classify: data.Labelled, TokenClassify: data.Labelled, DPO: data.Preferences, Contrastive: data.Contrasts,
}

// readData decodes the section, so that the default of other keys can depend on
// it.
func (r *Recipe) readData(d *decoder) {
	if r.Data.Given() {
		d.into(r.Data.node, &r.data, r.Data.path)
	}
}

// HeldOut says whether there is something to evaluate on: a part that a source
// holds out.
func (r *Recipe) HeldOut() bool {
	for _, s := range r.data.Sources {
		if s.Split > 0 {
			return true
		}
	}
	return false
}

// source is the path of a source's keys.
func (c *checker) source(i int) string {
	for _, at := range []string{fmt.Sprintf("data.sources[%d]", i), fmt.Sprintf("data[%d]", i)} {
		if c.given(at) {
			return at
		}
	}
	return "data"
}

func (c *checker) sources() {
	c.when(!c.Data.Given(), "data", "data is missing: a list of sources, such as [{path: texts/*.txt}]")
	c.when(c.Data.Given() && len(c.data.Sources) == 0, "data", "data has no sources")
	c.when(c.data.Dedup.Near < 0 || c.data.Dedup.Near > 1, "data.dedup.near", "data.dedup.near is %v, and should be between 0 and 1", c.data.Dedup.Near)
	trains := false
	for i, s := range c.data.Sources {
		at := c.source(i)
		trains = trains || s.Split < 1
		if err := s.Check(); err != nil {
			c.add(c.at(at), "%s: %v", at, err)
			continue
		}
		want := kinds[c.Objective.Kind]
		c.when(s.Kind() != want, at, "%s gives %s, and objective %s learns from %s", at, s.Kind(), c.Objective.Kind, want)
		c.sourceFiles(at, s.Path)
	}
	c.when(!trains && len(c.data.Sources) > 0, "data", "all of data is held out by splits of 1: nothing is left to learn from")
}

// sourceFiles looks for a path. Patterns and what is fetched are for who reads
// them.
func (c *checker) sourceFiles(at, path string) {
	if strings.ContainsAny(path, "*?[{") || strings.HasPrefix(path, "hf:") {
		return
	}
	if _, err := os.Stat(path); err != nil {
		c.add(c.at(at+".path"), "%s.path: %q is not there (paths are relative to the working directory)", at, path)
	}
}
