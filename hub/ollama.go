package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tagged is a model of an Ollama registry.
type tagged struct {
	space, name     string // "library" unless the user wrote another
	tag             string
	registry        string // base address
	registryDefault bool
}

const ollamaRegistry = "https://registry.ollama.ai"

var ollamaRule = pattern(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// parseTagged reads [namespace/]name[:tag].
func parseTagged(rest string) (*tagged, error) {
	t := &tagged{space: "library"}
	what, tag, _ := strings.Cut(rest, ":")
	t.tag = cmp.Or(tag, "latest")
	t.name = what
	if space, name, ok := strings.Cut(what, "/"); ok {
		t.space, t.name = space, name
	}
	for _, part := range []string{t.space, t.name, t.tag} {
		if !ollamaRule().MatchString(part) {
			return nil, fmt.Errorf("%q is no Ollama source; it is ollama:name:tag or ollama:namespace/name:tag", "ollama:"+rest)
		}
	}
	t.registry = strings.TrimRight(cmp.Or(os.Getenv("LAPIDARY_OLLAMA_REGISTRY"), ollamaRegistry), "/")
	t.registryDefault = t.registry == ollamaRegistry
	return t, nil
}

func (t *tagged) String() string {
	if t.space == "library" {
		return "ollama:" + t.name + ":" + t.tag
	}
	return "ollama:" + t.space + "/" + t.name + ":" + t.tag
}

// layers is an image manifest of the Docker registry protocol, version 2.
type layers struct {
	Layers []layer `json:"layers"`
}

type layer struct {
	Type   string `json:"mediaType"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

var layerDigest = pattern(`^sha256:[0-9a-f]{64}$`)

func (l layer) hex() string { return strings.TrimPrefix(l.Digest, "sha256:") }

// parseLayers refuses what could lead a file name or a size astray.
func parseLayers(b []byte, from string) (layers, error) {
	var m layers
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%s: the manifest is not JSON: %w", from, err)
	}
	for i, l := range m.Layers {
		if !layerDigest().MatchString(l.Digest) || l.Size < 0 {
			return m, fmt.Errorf("%s: layer %d of the manifest has digest %q and size %d, which no honest registry sends", from, i, l.Digest, l.Size)
		}
	}
	if _, ok := m.first(kindModel); !ok {
		return m, fmt.Errorf("%s: the manifest has no GGUF layer; this model is stored in a way that cannot be read, try its hf: source", from)
	}
	return m, nil
}

// Kinds of layer, the last word of their media type, and what each becomes.
const (
	kindModel     = "model"
	kindProjector = "projector"
	kindLicence   = "license"
)

var layerFiles = map[string]string{
	kindModel: "model.gguf", kindProjector: "mmproj.gguf", kindLicence: "LICENSE",
	"template": "template.gotmpl", "system": "system.txt", "params": "params.json",
}

func (l layer) kind() string { return strings.TrimPrefix(l.Type, "application/vnd.ollama.image.") }

func (m layers) first(kind string) (layer, bool) {
	for _, l := range m.Layers {
		if l.kind() == kind {
			return l, true
		}
	}
	return layer{}, false
}

func (t *tagged) pull(ctx context.Context, j *job) (manifest, error) {
	m, where, err := t.manifest(ctx, j)
	if err != nil {
		return manifest{}, err
	}
	out := manifest{Weights: layerFiles[kindModel]}
	if l, ok := m.first(kindModel); ok {
		if err := j.promised(l.hex()); err != nil {
			return out, err
		}
	}
	counts := map[string]int{}
	for _, l := range m.Layers {
		name, ok := layerFiles[l.kind()]
		if counts[l.kind()]++; !ok || counts[l.kind()] > 1 && l.kind() != kindLicence {
			continue
		}
		if counts[l.kind()] > 1 {
			name += "-" + strconv.Itoa(counts[kindLicence])
		}
		f, err := t.bring(ctx, j, l, name, where)
		if err != nil {
			return out, err
		}
		out.Files = append(out.Files, f)
		switch l.kind() {
		case kindProjector:
			out.Projector = name
		case kindLicence:
			out.Licence.Files = append(out.Licence.Files, name)
			out.Licence.Name = cmp.Or(out.Licence.Name, firstLine(filepath.Join(j.dir, name)))
		}
	}
	if strings.HasPrefix(out.Licence.Name, "Gemma Terms of Use") {
		out.Licence.Name, out.Licence.URL = "Gemma Terms of Use", gemmaTerms
	}
	return out, nil
}

// manifest is the model's list of layers, from Ollama's store on this machine
// (where then names that store) or from the registry.
func (t *tagged) manifest(ctx context.Context, j *job) (m layers, where string, err error) {
	if !j.fresh {
		if m, where, ok := t.installed(); ok {
			j.progress.Note("taking " + t.String() + " from Ollama's own store")
			return m, where, nil
		}
	}
	if _, err := checkURL(t.registry, true); err != nil {
		return m, "", fmt.Errorf("LAPIDARY_OLLAMA_REGISTRY: %w", err)
	}
	accept := http.Header{"Accept": {"application/vnd.docker.distribution.manifest.v2+json"}}
	b, _, err := j.store.small(ctx, t.url("manifests", t.tag), accept, j.progress.Note)
	if st, ok := asStatus(err); ok {
		switch st.code {
		case http.StatusNotFound:
			return m, "", fmt.Errorf("%w: the registry has no %s", ErrUnknown, t)
		case http.StatusUnauthorized, http.StatusForbidden:
			return m, "", fmt.Errorf("%w: %s is not public; pull it with Ollama itself, and Lapidary will take it from Ollama's store", ErrGated, t)
		}
	}
	if err != nil {
		return m, "", err
	}
	m, err = parseLayers(b, t.String())
	return m, "", err
}

func (t *tagged) url(kind, what string) string {
	return t.registry + "/v2/" + url.PathEscape(t.space) + "/" + url.PathEscape(t.name) + "/" + kind + "/" + what
}

// bring puts one layer into the job's folder.
func (t *tagged) bring(ctx context.Context, j *job, l layer, name, where string) (File, error) {
	it := item{dest: filepath.Join(j.dir, name), size: l.Size, digest: sha256Digest(l.hex())}
	if where != "" && !exists(it.dest) {
		if err := duplicate(ctx, filepath.Join(where, "blobs", "sha256-"+l.hex()), it.dest); err != nil {
			return File{}, err
		}
	}
	return j.get(ctx, it, web{store: j.store, url: t.url("blobs", l.Digest), pinned: true, note: j.progress.Note})
}

// ollamaStores are the folders where Ollama keeps models: the user's, and the
// one of the service that its Linux installer sets up.
func ollamaStores() []string {
	if d := os.Getenv("OLLAMA_MODELS"); d != "" {
		return []string{expandHome(d)}
	}
	return []string{expandHome("~/.ollama/models"), "/usr/share/ollama/.ollama/models"}
}

// installed finds the model in Ollama's own store, when all of it is there.
func (t *tagged) installed() (m layers, where string, ok bool) {
	host := "registry.ollama.ai"
	if u, err := url.Parse(t.registry); err == nil && !t.registryDefault {
		host = u.Host
	}
	for _, where := range ollamaStores() {
		b, err := readSmall(filepath.Join(where, "manifests", strings.ReplaceAll(host, ":", "_"), t.space, t.name, t.tag), maxManifest)
		if err != nil {
			continue
		}
		m, err := parseLayers(b, where)
		if err == nil && m.complete(where) {
			return m, where, true
		}
	}
	return m, "", false
}

func (m layers) complete(where string) bool {
	for _, l := range m.Layers {
		fi, err := os.Stat(filepath.Join(where, "blobs", "sha256-"+l.hex()))
		if err != nil || fi.Size() != l.Size {
			return false
		}
	}
	return true
}

func (t *tagged) local() (Local, bool) {
	m, where, ok := t.installed()
	if !ok {
		return Local{}, false
	}
	blob := func(kind string) string {
		l, ok := m.first(kind)
		if !ok {
			return ""
		}
		return filepath.Join(where, "blobs", "sha256-"+l.hex())
	}
	out := Local{Path: blob(kindModel), Projector: blob(kindProjector), Source: t.String(), Size: diskSize(blob(kindModel))}
	if text := blob(kindLicence); text != "" {
		out.Licence = Licence{Name: firstLine(text), Files: []string{text}}
	}
	if fi, err := os.Stat(out.Path); err == nil {
		out.Modified = fi.ModTime()
	}
	return out, true
}

// firstLine is how a licence's text calls itself.
func firstLine(path string) string {
	b, err := readSmall(path, 4<<20)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(strings.ToValidUTF8(line, "")); line != "" {
			return line[:min(len(line), 80)]
		}
	}
	return ""
}
