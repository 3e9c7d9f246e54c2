package hub

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Resolve finds the model that a MODEL argument means, without a network: a
// name in the store, a model that another program keeps, a file, or a folder.
// [BuiltIn] is written into the store the first time or, where that cannot be
// written, among the temporary files.
// Its errors say what to do: ErrNotPulled wraps those of models that Pull can
// bring, ErrUnknown those that nobody knows.
func (s *Store) Resolve(ctx context.Context, name string) (Local, error) {
	if err := ctx.Err(); err != nil {
		return Local{}, err
	}
	ref, err := parse(name)
	if err != nil {
		return Local{}, err
	}
	if ref.kind == kindPath {
		return s.resolvePath(ref)
	}
	if ref.kind == kindName && ref.text == BuiltIn+":latest" {
		return s.resolveBuiltIn(ctx, ref)
	}
	if l, err := read(s.modelDir(ref)); err == nil || !isMissing(err) {
		return l, err
	}
	ref, sources, err := s.sources(ref)
	if err != nil {
		return Local{}, err
	}
	if l, err := read(s.modelDir(ref)); err == nil || !isMissing(err) {
		return l, err // the name was an alias
	}
	for _, src := range sources {
		if l, ok := src.local(); ok {
			l.Name = ref.text
			return l, nil
		}
	}
	return Local{}, fmt.Errorf("%s is %w; get it with: lapidary pull %s", ref.text, ErrNotPulled, ref.text)
}

// resolvePath takes a file or folder as it is.
func (s *Store) resolvePath(ref reference) (Local, error) {
	path := filepath.Clean(expandHome(ref.text))
	fi, err := os.Stat(path)
	if err != nil {
		if isMissing(err) {
			return Local{}, fmt.Errorf("%w: there is no file or folder %s%s", ErrUnknown, path, hint(ref.text))
		}
		return Local{}, fmt.Errorf("%s: %w", path, err)
	}
	l := Local{Name: ref.text, Path: path, Modified: fi.ModTime(), Size: fi.Size()}
	if !fi.IsDir() {
		return l, nil
	}
	if l.Path, err = modelIn(path); err != nil {
		return Local{}, err
	}
	l.Size = diskSize(l.Path)
	return l, nil
}

// modelIn finds the model that a folder holds: itself in Hugging Face's
// layout, else the only GGUF file in it that is no model's towers.
func modelIn(dir string) (string, error) {
	if exists(filepath.Join(dir, "config.json")) {
		return dir, nil
	}
	ggufs, err := filepath.Glob(filepath.Join(globEscape(dir), "*.gguf"))
	ggufs = slices.DeleteFunc(ggufs, func(file string) bool { return isTowers(filepath.Base(file)) })
	switch {
	case err != nil:
		return "", err
	case len(ggufs) == 1:
		return ggufs[0], nil
	case len(ggufs) > 1:
		return "", fmt.Errorf("folder %s holds %d .gguf files; name one of them", dir, len(ggufs))
	}
	return "", fmt.Errorf("folder %s holds no model: neither config.json nor a .gguf file", dir)
}

// hint recognises what people write for a source when it is not a path.
func hint(path string) string {
	if f := strings.Split(path, "/"); len(f) == 2 && repoRule().MatchString(path) && !strings.HasPrefix(path, ".") {
		return "; for the Hugging Face repository, write hf:" + path
	}
	return ""
}

// unknown words the error for a name that nobody knows.
func (s *Store) unknown(ref reference) error {
	shown := strings.TrimSuffix(ref.text, ":latest")
	near := s.nearest(ref.text)
	advice := "lapidary list --available shows the names that can be pulled"
	if len(near) > 0 {
		advice = "did you mean " + strings.Join(near, ", ") + "? " + advice
	}
	return fmt.Errorf("%w %q: %s; or name a .gguf file, a folder, or a source such as hf:org/repo", ErrUnknown, shown, advice)
}

// nearest are the known names that a slip of the keyboard could have meant.
func (s *Store) nearest(name string) []string {
	type candidate struct {
		name string
		away int
	}
	var all []candidate
	add := func(shown, full string) {
		d := levenshtein.ComputeDistance(name, full)
		if strings.HasPrefix(full, strings.TrimSuffix(name, ":latest")) {
			d = min(d, 1) // the beginning of a name says more than its length
		}
		if d <= max(2, len(name)/3) {
			all = append(all, candidate{shown, d})
		}
	}
	for _, e := range Catalogue() {
		add(e.Name, e.Name)
	}
	models, _ := s.List()
	for _, l := range models {
		add(l.Name, l.Name)
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.away, b.away) })
	var names []string
	for _, c := range all {
		if len(names) < 3 && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}
