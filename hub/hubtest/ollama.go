package hubtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
)

// Ollama is an Ollama registry.
type Ollama struct {
	URL    string
	Files  *Files // what the registry serves, by path
	server *httptest.Server
}

// NewOllama starts a registry; Close ends it.
func NewOllama() *Ollama {
	o := &Ollama{Files: NewFiles()}
	o.server = httptest.NewServer(o.Files)
	o.URL = o.server.URL
	return o
}

// Close ends the server.
func (o *Ollama) Close() {
	o.server.CloseClientConnections()
	o.server.Close()
}

// Layer is one file of a model: Kind is the last word of its media type.
type Layer struct {
	Kind string
	Data []byte
}

// Manifest lists layers as a registry does.
func Manifest(layers []Layer) []byte {
	type entry struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	var all []entry
	for _, l := range layers {
		all = append(all, entry{"application/vnd.ollama.image." + l.Kind, "sha256:" + SHA256(l.Data), len(l.Data)})
	}
	b, _ := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": all,
	})
	return b
}

// Put adds a model: name is namespace/name.
func (o *Ollama) Put(name, tag string, layers []Layer) {
	o.Files.Put("/v2/"+name+"/manifests/"+tag, Manifest(layers))
	for _, l := range layers {
		o.Files.Put(o.BlobPath(name, l.Data), l.Data)
	}
}

// BlobPath is where the registry has a layer.
func (o *Ollama) BlobPath(name string, data []byte) string {
	return "/v2/" + name + "/blobs/sha256:" + SHA256(data)
}

// Install lays a model into an Ollama store in dir, as "ollama pull" leaves it.
func Install(dir, host, name, tag string, layers []Layer) error {
	at := filepath.Join(dir, "manifests", host, filepath.FromSlash(name))
	for _, d := range []string{at, filepath.Join(dir, "blobs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, l := range layers {
		if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256-"+SHA256(l.Data)), l.Data, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(at, tag), Manifest(layers), 0o644)
}

// Status makes a server that answers everything with one status.
func Status(code int) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(strings.ToLower(http.StatusText(code))))
	}))
}
