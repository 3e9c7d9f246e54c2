package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotPulled: the model is known, but not on this machine.
	ErrNotPulled = errors.New("not on this machine")
	// ErrUnknown: nothing goes by that name.
	ErrUnknown = errors.New("unknown model")
	// ErrChecksum: what was downloaded is not what was promised.
	ErrChecksum = errors.New("wrong checksum")
	// ErrGated: the owner hands the files only to those who accepted a licence.
	ErrGated = errors.New("gated")
	// ErrNoSpace: the disk has no room for the model.
	ErrNoSpace = errors.New("no space left on disk")
	// ErrBusy: another process is pulling or replacing the model.
	ErrBusy = errors.New("in use by another process")
)

// Licence names the terms that a model comes under.
type Licence struct {
	Name  string   `json:"name"`
	URL   string   `json:"url,omitempty"`
	Files []string `json:"files,omitempty"` // texts beside the model, relative to its folder or absolute
}

// File is one file of a stored model.
type File struct {
	Name   string `json:"name"` // slash-separated, relative to the model's folder
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256,omitempty"`
}

// Local is a model on this machine.
type Local struct {
	Name      string    // what the user calls it: gemma3:270m-pt, hf:org/repo, ./model.gguf
	Path      string    // a .gguf or .safetensors file, or a folder in Hugging Face's layout
	Projector string    // path of a separate vision or audio tower; "" when there is none
	Source    string    // where it was pulled from; "" for a file of the user's own
	Licence   Licence   // zero for a file of the user's own
	Dir       string    // the store's folder for it; "" for a file of the user's own
	Files     []File    // what lies in Dir; nil for a file of the user's own
	Size      int64     // bytes of the files in Dir and of Path, each counted once
	Modified  time.Time // when it was pulled, or when the file was last written
}

// SHA256 is the checksum of the weights in hexadecimal, "" when the model is
// a folder or a file that was never checked.
func (l Local) SHA256() string {
	for _, f := range l.Files {
		if filepath.Join(l.Dir, filepath.FromSlash(f.Name)) == l.Path {
			return f.SHA256
		}
	}
	return ""
}

// Store keeps models in one folder. Its methods may be called from many
// goroutines and processes at once.
type Store struct {
	root   string
	client *http.Client
	python []string // a command that runs Python; nil: look for one
	retry  retry
}

// Default is the store in $LAPIDARY_HOME or, when that is not set, in the
// user's data folder. It touches no disk.
func Default() (*Store, error) {
	root := os.Getenv("LAPIDARY_HOME")
	if root == "" {
		data, err := dataFolder()
		if err != nil {
			return nil, fmt.Errorf("no folder to keep models in: %w; set LAPIDARY_HOME", err)
		}
		root = filepath.Join(data, "lapidary")
	}
	return New(root)
}

// New is a store in the folder root, which is made when the first model comes.
func New(root string) (*Store, error) {
	abs, err := filepath.Abs(expandHome(root))
	if err != nil {
		return nil, fmt.Errorf("store folder %s: %w", root, err)
	}
	return &Store{root: abs, client: newClient(), retry: defaultRetry}, nil
}

// Root is the store's folder.
func (s *Store) Root() string { return s.root }

// dataFolder is where each system wants an application's data.
func dataFolder() (string, error) {
	switch runtime.GOOS {
	case "windows":
		if d := os.Getenv("LOCALAPPDATA"); d != "" {
			return d, nil
		}
		return "", errors.New("%LOCALAPPDATA% is not set")
	case "darwin":
		home, err := os.UserHomeDir()
		return filepath.Join(home, "Library", "Application Support"), err
	}
	// The XDG Base Directory specification has relative values ignored.
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return d, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "share"), err
}

const (
	manifestName    = "manifest.json"
	manifestVersion = 1
	maxManifest     = 1 << 20
)

// manifest is the record of a stored model: format.md.
type manifest struct {
	Version   int       `json:"version"`
	Name      string    `json:"name"`
	Source    string    `json:"source"`
	Licence   Licence   `json:"licence"`
	Weights   string    `json:"weights"`
	Projector string    `json:"projector,omitempty"`
	Files     []File    `json:"files,omitempty"`
	Owned     []string  `json:"owned,omitempty"`
	Pulled    time.Time `json:"pulled"`
}

func (s *Store) modelDir(r reference) string {
	return filepath.Join(s.root, "models", r.folder())
}

// read loads the model in dir; fs.ErrNotExist when there is none.
func read(dir string) (Local, error) {
	m, err := readManifest(dir)
	if err != nil {
		return Local{}, err
	}
	return m.local(dir)
}

func readManifest(dir string) (m manifest, err error) {
	path := filepath.Join(dir, manifestName)
	b, err := readSmall(path, maxManifest)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%s: %w; remove the folder and pull again", path, err)
	}
	if m.Version != manifestVersion {
		return m, fmt.Errorf("%s: version %d, this program reads version %d; get a newer Lapidary", path, m.Version, manifestVersion)
	}
	return m, nil
}

func (m manifest) local(dir string) (Local, error) {
	l := Local{Name: m.Name, Source: m.Source, Licence: m.Licence, Dir: dir, Files: m.Files, Modified: m.Pulled}
	var err error
	if l.Path, err = within(dir, m.Weights); err != nil {
		return Local{}, fmt.Errorf("%s: weights: %w", filepath.Join(dir, manifestName), err)
	}
	if m.Projector != "" {
		if l.Projector, err = within(dir, m.Projector); err != nil {
			return Local{}, fmt.Errorf("%s: projector: %w", filepath.Join(dir, manifestName), err)
		}
	}
	for _, f := range m.Files {
		l.Size += f.Size
	}
	if filepath.IsAbs(m.Weights) {
		l.Size += diskSize(l.Path)
		if l.Projector != "" {
			l.Size += diskSize(l.Projector)
		}
	}
	if _, err := os.Stat(l.Path); err != nil {
		return Local{}, fmt.Errorf("%s: its weights are gone (%s): %w; pull it again with --force", m.Name, l.Path, ErrNotPulled)
	}
	return l, nil
}

// within joins a manifest's path to its folder. Absolute paths are those of
// files kept elsewhere (Hugging Face's cache); relative ones may not leave.
func within(dir, name string) (string, error) {
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return "", fmt.Errorf("%q leads out of the model's folder", name)
	}
	return filepath.Join(dir, local), nil
}

// diskSize is the bytes of a file, or of all files below a folder, links followed.
func diskSize(path string) int64 {
	var n int64
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a size is told as well as it can be
		}
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
		return nil
	})
	return n
}

// List is every model in the store, by name. Folders without a readable
// manifest are reported in the error; the models beside them are still listed.
func (s *Store) List() ([]Local, error) {
	found, err := filepath.Glob(filepath.Join(globEscape(s.root), "models", "*", "*", manifestName))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.root, err)
	}
	var models []Local
	var broken error
	for _, path := range found {
		dir := filepath.Dir(path)
		if strings.HasPrefix(filepath.Base(dir), ".") {
			continue // still being pulled
		}
		l, err := read(dir)
		if err != nil {
			broken = errors.Join(broken, err)
			continue
		}
		models = append(models, l)
	}
	slices.SortFunc(models, func(a, b Local) int { return strings.Compare(a.Name, b.Name) })
	return models, broken
}

func globEscape(path string) string {
	if runtime.GOOS == "windows" {
		return path // '\' separates there, and cannot escape
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
