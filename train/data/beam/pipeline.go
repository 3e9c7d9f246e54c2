package beam

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"lapidary/chat"
	"lapidary/checkpoint"
	"lapidary/tokenizer"
	"lapidary/train/data"
)

// Job is what to prepare.
type Job struct {
	Sources []data.Source `json:"sources"`
	Dedup   data.Dedup    `json:"dedup"`
	// Model is the path of a checkpoint, whose tokenizer and chat template are
	// used; Template names a built-in template to use instead.
	Model    string `json:"model"`
	Template string `json:"template,omitempty"`
	// Folder takes the result.
	Folder string `json:"folder"`
}

func init() {
	register.DoFn4x1[context.Context, []byte, func(string, []byte), func(string, []byte), error](&readFn{})
	register.DoFn4x0[string, func(*[]byte) bool, func(string, []byte), func(string, []byte)](&exactFn{})
	register.DoFn3x0[string, []byte, func(string, []byte)](&bandsFn{})
	register.DoFn3x0[string, func(*[]byte) bool, func(string, []byte)](&pairsFn{})
	register.DoFn3x0[string, func(*[]byte) bool, func(string, []byte)](&resolveFn{})
	register.DoFn5x0[string, func(*[]byte) bool, func(*[]byte) bool, func(string, []byte), func(string, []byte)](&keepFn{})
	register.DoFn3x1[string, func(*[]byte) bool, func(string, []byte), error](&writeFn{})
	register.DoFn2x1[string, func(*[]byte) bool, error](&manifestFn{})
	register.Emitter2[string, []byte]()
	register.Iter1[[]byte]()
}

// openTokenizer is changed by tests, which have no model.
var openTokenizer = func(j *Job) (data.Tokenizer, error) {
	c, err := checkpoint.Open(j.Model)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	tok, err := tokenizer.Open(c)
	if err != nil {
		return nil, err
	}
	if j.Template != "" {
		t := chat.BuiltIn(j.Template)
		if t == nil {
			return nil, fmt.Errorf("no chat template %q: it is one of %v", j.Template, chat.Families())
		}
		return data.NewTokenizer(tok, t), nil
	}
	t, err := chat.Open(c)
	if err != nil && !errors.Is(err, chat.ErrNoTemplate) {
		return nil, err
	}
	return data.NewTokenizer(tok, t), nil
}

// Check finds what is wrong with a job before anything is run.
func (j *Job) Check() error {
	tok, err := openTokenizer(j)
	if err != nil {
		return err
	}
	for i := range j.Sources {
		if s := &j.Sources[i]; s.Limit > 0 {
			return fmt.Errorf("source %s: limit cannot be kept by several workers; take fewer files", s.Path)
		}
	}
	return data.Check(j.Sources, tok, j.Dedup)
}

// Run prepares the job's data with a runner ("prism" is the local one).
func Run(ctx context.Context, runner string, j Job) error {
	if err := j.Check(); err != nil {
		return err
	}
	if err := os.MkdirAll(j.Folder, 0o755); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(j.Folder, failureName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p, s := beam.NewPipelineWithRoot()
	if err := Build(ctx, s, j); err != nil {
		return err
	}
	if _, err := beam.Run(ctx, runner, p); err != nil {
		return fmt.Errorf("the pipeline did not end: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(j.Folder, failureName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(err, errors.New(string(b)))
}

// Build adds the steps to a pipeline.
func Build(ctx context.Context, s beam.Scope, j Job) error {
	var files [][]byte
	for i := range j.Sources {
		names, err := j.Sources[i].Files(ctx)
		if err != nil {
			return err
		}
		for n, name := range names {
			head := binary.BigEndian.AppendUint32(nil, uint32(i))
			files = append(files, append(binary.BigEndian.AppendUint32(head, uint32(n)), name...))
		}
	}
	docs, notes := beam.ParDo2(s.Scope("read"), &readFn{Job: j}, beam.Reshuffle(s, beam.CreateList(s, files)))
	docs, exact := beam.ParDo2(s.Scope("exact"), &exactFn{}, beam.GroupByKey(s, docs))
	all := []beam.PCollection{notes, exact}
	if j.Dedup.Near > 0 {
		bands := beam.ParDo(s.Scope("bands"), &bandsFn{Near: j.Dedup.Near}, docs)
		pairs := beam.ParDo(s.Scope("pairs"), &pairsFn{Near: j.Dedup.Near}, beam.GroupByKey(s, bands))
		gone := beam.ParDo(s.Scope("resolve"), &resolveFn{}, beam.GroupByKey(s, pairs))
		var near beam.PCollection
		docs, near = beam.ParDo2(s.Scope("keep"), &keepFn{}, beam.CoGroupByKey(s, docs, gone))
		all = append(all, near)
	}
	byFile := beam.ParDo(s.Scope("files"), byFileOf, docs)
	all = append(all, beam.ParDo(s.Scope("write"), &writeFn{Job: j}, beam.GroupByKey(s, byFile)))
	// A note of its own, so that there is a manifest of no documents too.
	all = append(all, beam.ParDo(s, startOf, beam.Impulse(s)))
	beam.ParDo0(s.Scope("manifest"), &manifestFn{Job: j}, beam.GroupByKey(s, beam.Flatten(s, all...)))
	return nil
}
