package hubtest

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// HF is a Hugging Face hub. Large files are served as the real one does it:
// the hub answers with their checksum, size and a redirect to another server.
type HF struct {
	URL  string
	Bulk *Files // the other server
	hub  *httptest.Server
	bulk *httptest.Server

	mu    sync.Mutex
	repos map[string]*Repo
}

// Repo is one repository of an HF.
type Repo struct {
	Commit  string
	Licence string
	Token   string // when set, the repository is gated and this opens it
	Files   map[string][]byte
	Large   map[string][]byte
}

// NewHF starts a hub; Close ends it.
func NewHF() *HF {
	h := &HF{Bulk: NewFiles(), repos: map[string]*Repo{}}
	h.bulk = httptest.NewServer(h.Bulk)
	h.hub = httptest.NewServer(h)
	h.URL = h.hub.URL
	return h
}

// Close ends the servers.
func (h *HF) Close() {
	h.hub.CloseClientConnections()
	h.bulk.CloseClientConnections()
	h.hub.Close()
	h.bulk.Close()
}

// Put adds a repository.
func (h *HF) Put(id string, r *Repo) {
	if r.Commit == "" {
		r.Commit = SHA256([]byte(id))[:40]
	}
	for _, data := range r.Large {
		h.Bulk.Put("/cdn/"+SHA256(data), data)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[id] = r
}

// BulkPath is where the other server has a large file.
func BulkPath(data []byte) string { return "/cdn/" + SHA256(data) }

// GitBlob is the checksum by which git, and so the hub, knows a small file.
func GitBlob(data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

func (h *HF) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if rest, ok := strings.CutPrefix(path, "api/models/"); ok {
		id, rev, _ := strings.Cut(rest, "/revision/")
		h.api(w, id, rev)
		return
	}
	id, rest, ok := strings.Cut(path, "/resolve/")
	rev, file, ok2 := strings.Cut(rest, "/")
	h.mu.Lock()
	repo := h.repos[id]
	h.mu.Unlock()
	switch {
	case !ok || !ok2 || repo == nil:
		refuse(w, http.StatusUnauthorized, "RepoNotFound") // the hub does not tell a missing repository from a private one
	case rev != "main" && rev != repo.Commit:
		refuse(w, http.StatusNotFound, "RevisionNotFound")
	case repo.Token != "" && r.Header.Get("Authorization") == "":
		refuse(w, http.StatusUnauthorized, "GatedRepo")
	case repo.Token != "" && r.Header.Get("Authorization") != "Bearer "+repo.Token:
		refuse(w, http.StatusForbidden, "GatedRepo")
	default:
		h.file(w, r, repo, file)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Error-Code", code)
	w.WriteHeader(status)
}

func (h *HF) file(w http.ResponseWriter, r *http.Request, repo *Repo, file string) {
	w.Header().Set("X-Repo-Commit", repo.Commit)
	if data, ok := repo.Large[file]; ok {
		w.Header().Set("X-Linked-ETag", strconv.Quote(SHA256(data)))
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
		w.Header().Set("Location", h.bulk.URL+BulkPath(data)+"?signature=secret")
		w.WriteHeader(http.StatusFound)
		return
	}
	data, ok := repo.Files[file]
	if !ok {
		refuse(w, http.StatusNotFound, "EntryNotFound")
		return
	}
	w.Header().Set("ETag", strconv.Quote(GitBlob(data)))
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(data)
	}
}

func (h *HF) api(w http.ResponseWriter, id, rev string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	repo := h.repos[id]
	if repo == nil {
		refuse(w, http.StatusUnauthorized, "RepoNotFound")
		return
	}
	if rev != "main" && rev != repo.Commit {
		refuse(w, http.StatusNotFound, "RevisionNotFound")
		return
	}
	type sibling struct {
		Name string `json:"rfilename"`
	}
	var names []sibling
	for _, m := range []map[string][]byte{repo.Files, repo.Large} {
		for n := range m {
			names = append(names, sibling{n})
		}
	}
	slices.SortFunc(names, func(a, b sibling) int { return strings.Compare(a.Name, b.Name) })
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": id, "sha": repo.Commit, "gated": repo.Token != "",
		"siblings": names, "cardData": map[string]any{"license": repo.Licence},
	})
}
