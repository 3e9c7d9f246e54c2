package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/go-xla/installer"

	"lapidary/hub"
)

// Kind is the sort of device that a plugin drives.
type Kind string

// The kinds that are known, as commands and recipes spell them.
const (
	CPU  Kind = "cpu"
	CUDA Kind = "cuda"
	TPU  Kind = "tpu"
)

// Kinds lists them, the best first.
func Kinds() []Kind { return []Kind{CUDA, TPU, CPU} }

// ErrNone: no plugin of the kind that was asked for is on this machine.
var ErrNone = errors.New("no such plugin")

// Plugin is one PJRT library on this machine.
type Plugin struct {
	Name    string `json:"name"` // the package or file it comes from
	Kind    Kind   `json:"kind"`
	Path    string `json:"path"`              // absolute, of the library
	Where   string `json:"where"`             // which of the places of the package documentation
	Version string `json:"version,omitempty"` // "" where nothing tells it
	Licence string `json:"licence,omitempty"` // of what Install brought
}

// place is a folder and what to call it.
type place struct{ folder, where string }

// layout is where a Python package keeps its library, below site-packages.
type layout struct {
	kind    Kind
	library string // slash-separated
	dist    string // the distribution, as its .dist-info folder spells it
}

var layouts = []layout{
	{CUDA, "jax_plugins/xla_cuda13/xla_cuda_plugin.so", "jax_cuda13_pjrt"},
	{CUDA, "jax_plugins/xla_cuda12/xla_cuda_plugin.so", "jax_cuda12_pjrt"},
	{TPU, "libtpu/libtpu.so", "libtpu"},
	{CPU, "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so", "lammps_jax_pjrt_cpu"},
}

// List is every plugin found, in the order in which [Best] would take them
// inside of a kind. Places that cannot be read count as empty; one library
// reached by two ways is listed once.
func List() ([]Plugin, error) {
	own, err := installed()
	found := own
	for _, p := range searchPlaces() {
		found = append(found, inFolder(p)...)
	}
	for _, p := range pythonPlaces() {
		found = append(found, inSitePackages(p)...)
	}
	return distinct(found), err
}

func distinct(found []Plugin) []Plugin {
	seen := map[string]bool{}
	return slices.DeleteFunc(found, func(p Plugin) bool {
		real, err := filepath.EvalSymlinks(p.Path)
		if err != nil || seen[real] {
			return true
		}
		seen[real] = true
		return false
	})
}

// searchPlaces are the folders in which go-xla itself would look by name.
func searchPlaces() []place {
	var places []place
	for _, dir := range filepath.SplitList(os.Getenv("PJRT_PLUGIN_LIBRARY_PATH")) {
		if abs, err := filepath.Abs(dir); dir != "" && err == nil {
			places = append(places, place{abs, "PJRT_PLUGIN_LIBRARY_PATH"})
		}
	}
	goxla := []string{"/usr/local/lib/go-xla"}
	if lib, err := installer.DefaultHomeLibPath(); err == nil {
		goxla = append([]string{filepath.Join(lib, "go-xla")}, goxla...)
	}
	for _, dir := range goxla {
		places = append(places, place{dir, "go-xla"}, place{filepath.Join(dir, "nvidia"), "go-xla"})
	}
	return places
}

// inFolder finds plugins by the file names that go-xla uses.
func inFolder(p place) []Plugin {
	entries, err := os.ReadDir(p.folder)
	if err != nil {
		return nil
	}
	var found []Plugin
	for _, e := range entries {
		name, kind, ok := parseFileName(e.Name())
		if !ok {
			continue
		}
		_, version, _ := strings.Cut(name, "_v")
		found = append(found, Plugin{Name: name, Kind: kind, Path: filepath.Join(p.folder, e.Name()), Where: p.where, Version: version})
	}
	return found
}

// parseFileName reads pjrt_c_api_NAME_plugin.so, pjrt_plugin_NAME.so and
// pjrt-plugin-NAME.so, each also with .dylib and .dll.
func parseFileName(file string) (name string, kind Kind, ok bool) {
	ext := filepath.Ext(file)
	if ext != ".so" && ext != ".dylib" && ext != ".dll" {
		return "", "", false
	}
	stem := strings.TrimSuffix(file, ext)
	if rest, found := strings.CutPrefix(stem, "pjrt_c_api_"); found {
		name, ok = strings.CutSuffix(rest, "_plugin")
	}
	for _, prefix := range []string{"pjrt_plugin_", "pjrt-plugin-"} {
		if rest, found := strings.CutPrefix(stem, prefix); found {
			name, ok = rest, true
		}
	}
	kind, known := kindOf(name)
	return name, kind, ok && known
}

// kindOf tells a plugin's kind by its name.
func kindOf(name string) (Kind, bool) {
	lower := strings.ToLower(name)
	for _, k := range []struct {
		word string
		kind Kind
	}{{"cuda", CUDA}, {"nvidia", CUDA}, {"tpu", TPU}, {"cpu", CPU}} {
		if strings.Contains(lower, k.word) {
			return k.kind, true
		}
	}
	return "", false
}

// inSitePackages finds the Python packages that carry plugins.
func inSitePackages(p place) []Plugin {
	var found []Plugin
	for _, l := range layouts {
		path := filepath.Join(p.folder, filepath.FromSlash(l.library))
		if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		found = append(found, Plugin{Name: strings.ReplaceAll(l.dist, "_", "-"), Kind: l.kind, Path: path,
			Where: p.where, Version: distVersion(p.folder, l.dist)})
	}
	return found
}

// distVersion is the version in the name of a distribution's .dist-info folder.
func distVersion(site, dist string) string {
	entries, err := os.ReadDir(site)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), dist+"-"); ok {
			if version, ok := strings.CutSuffix(rest, ".dist-info"); ok {
				return version
			}
		}
	}
	return ""
}

// home is the folder of the plugins that Install brings.
func home() (string, error) {
	store, err := hub.Default()
	if err != nil {
		return "", err
	}
	return filepath.Join(store.Root(), "plugins"), nil
}

// installed reads the manifests below home. A folder that cannot be read is
// told of, and what lies beside it is still found.
func installed() ([]Plugin, error) {
	dir, err := home()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil // nothing was ever installed
	}
	var found []Plugin
	var broken error
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue // still on its way
		}
		m, err := readManifest(filepath.Join(dir, e.Name()))
		if err != nil {
			broken = cmp.Or(broken, fmt.Errorf("%w; remove the folder and install again", err))
			continue
		}
		found = append(found, Plugin{Name: m.Name, Kind: m.Kind, Path: filepath.Join(dir, e.Name(), filepath.FromSlash(m.Library)),
			Where: "lapidary", Version: m.Version, Licence: m.Licence})
	}
	return found, broken
}
