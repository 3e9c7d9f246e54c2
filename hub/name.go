package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// kind says how a MODEL argument is to be understood.
type kind int

const (
	kindName   kind = iota // gemma3:270m
	kindPath               // ./model.gguf
	kindHF                 // hf:org/repo[/file][@revision]
	kindOllama             // ollama:name[:tag]
	kindPyPI               // pypi:package[==version]
	kindURL                // https://host/model.gguf[#sha256=…]
)

// reference is a parsed MODEL argument.
type reference struct {
	kind kind
	text string // canonical spelling: equal references have equal text
	rest string // text without its scheme
	src  source // what a source string names
}

var schemes = []struct {
	prefix string
	kind   kind
}{
	{"hf:", kindHF}, {"ollama:", kindOllama}, {"pypi:", kindPyPI},
	{"https://", kindURL}, {"http://", kindURL},
}

// parse tells the kinds of MODEL argument apart. A bare word is a name, even
// if a file of that name lies in the current folder: write ./word for a file.
func parse(s string) (reference, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return reference{}, fmt.Errorf("no model is named; try %s, a .gguf file, or hf:org/repo", DefaultModel())
	}
	for _, h := range []string{"https://huggingface.co/", "https://hf.co/", "hf.co/", "huggingface.co/"} {
		if rest, ok := strings.CutPrefix(s, h); ok {
			return parseSource(kindHF, s, fromHubPage(rest))
		}
	}
	for _, sc := range schemes {
		if rest, ok := strings.CutPrefix(s, sc.prefix); ok {
			return parseSource(sc.kind, s, rest)
		}
	}
	if looksLikePath(s) {
		return reference{kind: kindPath, text: s, rest: s}, nil
	}
	return parseName(s)
}

func parseSource(k kind, text, rest string) (ref reference, err error) {
	var src source
	switch k {
	case kindHF:
		src, err = parseRepo(rest)
	case kindOllama:
		src, err = parseTagged(rest)
	case kindPyPI:
		src, err = parseWheels(rest)
	default:
		src, err = parseAddress(text)
	}
	if err != nil {
		return reference{}, err
	}
	return reference{kind: k, text: src.String(), rest: rest, src: src}, nil
}

// fromHubPage turns the path of a huggingface.co page into org/repo[/file][@rev].
func fromHubPage(path string) string {
	path, _, _ = strings.Cut(path, "?")
	f := strings.SplitN(strings.Trim(path, "/"), "/", 5)
	if len(f) < 4 || (f[2] != "resolve" && f[2] != "blob" && f[2] != "tree") {
		return strings.Join(f, "/")
	}
	out := f[0] + "/" + f[1]
	if len(f) == 5 {
		out += "/" + f[4]
	}
	if f[3] != "main" {
		out += "@" + f[3]
	}
	return out
}

func looksLikePath(s string) bool {
	if filepath.IsAbs(s) || s == "." || s == ".." || s == "~" {
		return true
	}
	for _, p := range []string{"./", "../", "~/", "/", `.\`, `..\`} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	if runtime.GOOS == "windows" && strings.Contains(s, `\`) {
		return true
	}
	if strings.Contains(s, "/") {
		return true // names have no slash
	}
	switch strings.ToLower(filepath.Ext(s)) {
	case ".gguf", ".safetensors":
		return true
	}
	return false
}

var nameRule = pattern(`^[a-z0-9][a-z0-9._-]{0,79}$`)

// Names that Windows keeps for devices, and names that the store keeps for
// the folders of source strings.
var reserved = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true,
	"hf": true, "ollama": true, "pypi": true, "https": true, "http": true,
}

// parseName reads name[:tag]; names are folded to lower case, because some
// file systems would otherwise take Gemma and gemma for one.
func parseName(s string) (reference, error) {
	name, tag, tagged := strings.Cut(strings.ToLower(s), ":")
	if !tagged {
		tag = "latest"
	}
	for _, part := range []string{name, tag} {
		if err := checkComponent(part); err != nil {
			return reference{}, fmt.Errorf("%q is no model name: %w; a name is name[:tag] in letters, digits, '.', '_' and '-'", s, err)
		}
	}
	if reserved[name] {
		return reference{}, fmt.Errorf("%q is no model name: %q is kept for sources (%s:…)", s, name, name)
	}
	text := name + ":" + tag
	return reference{kind: kindName, text: text, rest: text}, nil
}

func checkComponent(s string) error {
	stem, _, _ := strings.Cut(s, ".")
	switch {
	case !nameRule().MatchString(s):
		return fmt.Errorf("%q holds other characters or is too long", s)
	case strings.HasSuffix(s, "."):
		return fmt.Errorf("%q ends in a dot", s)
	case len(stem) == 3 && reserved[stem], len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && stem[3] >= '0' && stem[3] <= '9':
		return fmt.Errorf("%q is a device on Windows", s)
	}
	return nil
}

var unsafeRune = pattern(`[^A-Za-z0-9._-]+`)

// folder is where a reference lies below the store's models folder. Source
// strings hold characters that file systems refuse or fold, so they get a
// readable stem and eight digits of their hash.
func (r reference) folder() string {
	if r.kind == kindName {
		name, tag, _ := strings.Cut(r.text, ":")
		return filepath.Join(name, tag)
	}
	group := map[kind]string{kindHF: "hf", kindOllama: "ollama", kindPyPI: "pypi", kindURL: "https"}[r.kind]
	_, readable, _ := strings.Cut(r.text, ":")
	return filepath.Join(group, flatten(readable, r.text))
}

// flatten makes one safe file name of a readable text and the identity it
// stands for.
func flatten(readable, identity string) string {
	readable, _, _ = strings.Cut(readable, "#")
	readable = strings.Trim(unsafeRune().ReplaceAllString(readable, "_"), "._-")
	if len(readable) > 80 {
		readable = readable[len(readable)-80:]
	}
	sum := sha256.Sum256([]byte(identity))
	return "m" + "_" + readable + "-" + hex.EncodeToString(sum[:4])
}

// expandHome replaces a leading ~ as a shell would have done.
func expandHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || (rest != "" && rest[0] != '/' && rest[0] != '\\') {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return filepath.Join(home, rest)
}
