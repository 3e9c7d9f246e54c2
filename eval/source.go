package eval

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxData bounds a data file, which is held in memory as a whole.
const maxData = 1 << 30

// Example is one item of the data.
type Example struct {
	ID     string // its group and its place in the file, from 1
	Group  string // the file it is from
	Fields map[string]any
}

// Source is the examples of files that belong together.
type Source struct {
	Examples []Example
	Digest   string            // SHA-256 of the files
	Folders  map[string]string // the folder of each group
}

// ReadData reads files, and of folders the files that d.Files names.
func ReadData(d Data, paths []string) (*Source, error) {
	files, err := find(d, paths)
	if err != nil {
		return nil, err
	}
	s := &Source{Folders: map[string]string{}}
	digest := sha256.New()
	for i, group := range groupNames(files) {
		content, err := readAll(files[i])
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(digest, "%s %d\n", group, len(content))
		_, _ = digest.Write(content) // a hash takes everything
		items, err := d.parse(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[i], err)
		}
		s.Folders[group] = filepath.Dir(files[i])
		if s.Examples, err = d.add(s.Examples, group, items); err != nil {
			return nil, fmt.Errorf("%s: %w", files[i], err)
		}
	}
	if len(s.Examples) == 0 {
		return nil, fmt.Errorf("no example in %s: check data.format, each and where", strings.Join(files, ", "))
	}
	s.Digest = hex.EncodeToString(digest.Sum(nil))
	return s, nil
}

// add names the items that Where keeps.
func (d *Data) add(to []Example, group string, items []map[string]any) ([]Example, error) {
	for i, fields := range items {
		keep := true
		for _, name := range slices.Sorted(maps.Keys(d.Where)) {
			v, err := lookUp(fields, strings.Split(name, "."))
			if err != nil {
				return to, fmt.Errorf("example %d: where: %w", i+1, err)
			}
			keep = keep && text(v) == d.Where[name]
		}
		if keep {
			to = append(to, Example{ID: group + ":" + strconv.Itoa(i+1), Group: group, Fields: fields})
		}
	}
	return to, nil
}

func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxData+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(content) > maxData {
		return nil, fmt.Errorf("%s has more than %d MB: evaluate a part of it", path, maxData>>20)
	}
	return bytes.TrimPrefix(content, []byte("\uFEFF")), nil
}

// find replaces folders by files in them.
func find(d Data, paths []string) ([]string, error) {
	var files []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, p)
			continue
		}
		found, err := inFolder(p, d.Files)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func inFolder(folder string, patterns []string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, pattern := range patterns {
		var found []string
		for _, e := range entries {
			ok, err := filepath.Match(pattern, e.Name())
			if err != nil {
				return nil, fmt.Errorf("%w: data.files %q is no pattern: %w", ErrTask, pattern, err)
			}
			if ok && !e.IsDir() {
				found = append(found, filepath.Join(folder, e.Name()))
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	if len(patterns) == 0 {
		return nil, fmt.Errorf("%s is a folder: name its files", folder)
	}
	return nil, fmt.Errorf("%s has no %s: name a file", folder, strings.Join(patterns, " or "))
}

// groupNames are the files' names without what ends them, or the names of their
// folders if these tell them apart and the files' do not.
func groupNames(files []string) []string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
	}
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			for i, f := range files {
				names[i] = filepath.Base(filepath.Dir(f)) + "/" + names[i]
			}
			break
		}
		seen[n] = true
	}
	return names
}

func (d *Data) parse(content []byte) ([]map[string]any, error) {
	var (
		items []any
		err   error
	)
	switch d.Format {
	case "jsonl":
		items, err = parseJSONLines(content)
	case "json":
		items, err = parseJSON(content)
	case "csv":
		items, err = d.parseTable(content, ',')
	case "tsv":
		items, err = d.parseTable(content, '\t')
	case "lines":
		items, err = d.parseLines(content)
	case "txt":
		if !utf8.Valid(content) {
			return nil, errors.New("it is not UTF-8 text: convert it")
		}
		items = []any{map[string]any{"text": string(content)}}
	}
	if err != nil {
		return nil, err
	}
	return each(items, d.Each)
}

func decode(content []byte) (any, error) {
	var v any
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON value")
	}
	return v, nil
}

func parseJSONLines(content []byte) ([]any, error) {
	var items []any
	for n, line := range bytes.Split(content, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		v, err := decode(line)
		if err != nil {
			return nil, fmt.Errorf("line %d is no JSON: %w", n+1, err)
		}
		items = append(items, v)
	}
	return items, nil
}

// parseJSON takes the items of a list apart, and an object as the one item.
func parseJSON(content []byte) ([]any, error) {
	v, err := decode(content)
	if err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("line %d is no JSON: %w", 1+bytes.Count(content[:min(int(syntax.Offset), len(content))], []byte("\n")), err)
		}
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	if list, ok := v.([]any); ok {
		return list, nil
	}
	return []any{v}, nil
}

func (d *Data) parseTable(content []byte, comma rune) ([]any, error) {
	r := csv.NewReader(bytes.NewReader(content))
	r.Comma, r.LazyQuotes, r.ReuseRecord = comma, true, true
	r.FieldsPerRecord = len(d.Columns)
	columns := slices.Clone(d.Columns)
	var items []any
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return items, nil
		}
		if err != nil {
			return nil, err
		}
		if columns == nil {
			columns = slices.Clone(row)
			continue
		}
		item := make(map[string]any, len(columns))
		for i, name := range columns {
			item[name] = row[i]
		}
		items = append(items, item)
	}
}

func (d *Data) parseLines(content []byte) ([]any, error) {
	re, err := regexp.Compile(d.Pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: data.pattern: %w", ErrTask, err)
	}
	var items []any
	for n, line := range strings.Split(string(content), "\n") {
		if line = strings.TrimSuffix(line, "\r"); line == "" {
			continue
		}
		m := re.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("line %d %q does not fit data.pattern %s", n+1, shorten(line), d.Pattern)
		}
		item := map[string]any{}
		for i, name := range re.SubexpNames() {
			if name != "" {
				item[name] = m[i]
			}
		}
		items = append(items, item)
	}
	return items, nil
}

// each goes down the path, items inheriting the fields around them.
func each(items []any, path []string) ([]map[string]any, error) {
	var out []map[string]any
	for i, item := range items {
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("example %d is no object with fields", i+1)
		}
		found, err := descend(fields, path)
		if err != nil {
			return nil, fmt.Errorf("example %d: %w", i+1, err)
		}
		out = append(out, found...)
	}
	return out, nil
}

func descend(fields map[string]any, path []string) ([]map[string]any, error) {
	if len(path) == 0 {
		return []map[string]any{fields}, nil
	}
	around, children, err := below(fields, path[0])
	if err != nil {
		return nil, fmt.Errorf("each: %w", err)
	}
	var out []map[string]any
	for _, c := range children {
		child, ok := c.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("each: an item of %q is no object with fields", path[0])
		}
		inherited := maps.Clone(around)
		if inherited == nil {
			inherited = map[string]any{}
		}
		maps.Copy(inherited, child)
		deeper, err := descend(inherited, path[1:])
		if err != nil {
			return nil, err
		}
		out = append(out, deeper...)
	}
	return out, nil
}

// below are the items of a step, and the fields around them. All values of an
// object leave none around them.
func below(fields map[string]any, step string) (around map[string]any, children []any, err error) {
	if step == "*" {
		for _, k := range keysOf(fields) {
			children = append(children, fields[k])
		}
		return nil, children, nil
	}
	v, err := lookUp(fields, []string{step})
	if err != nil {
		return nil, nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, nil, fmt.Errorf("field %q is no list", step)
	}
	return fields, list, nil
}
