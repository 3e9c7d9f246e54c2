package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

var (
	repoRule     = pattern(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	revisionRule = pattern(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	quantRule    = pattern(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	commitRule   = pattern(`^[0-9a-f]{40}$`)
	shardRule    = pattern(`^(.*)-(\d{5})-of-(\d{5})(\.\w+)$`)
)

// repo is a model repository on Hugging Face, or one file of it.
type repo struct {
	id       string // org/name
	file     string // "" means what the repository's model needs
	quant    string // picks the GGUF file with this quantisation in its name
	revision string
}

// parseRepo reads org/name[/file][:quantisation][@revision].
func parseRepo(rest string) (*repo, error) {
	r := &repo{revision: "main"}
	what, rev, pinned := strings.Cut(rest, "@")
	if pinned {
		r.revision = rev
	}
	what, r.quant, _ = strings.Cut(what, ":")
	parts := strings.SplitN(what, "/", 3)
	if len(parts) == 3 {
		r.file = parts[2]
	}
	r.id = strings.Join(parts[:min(2, len(parts))], "/")
	ok := repoRule().MatchString(r.id) && !strings.Contains(r.id, "--") && !strings.Contains(r.id, "..") &&
		revisionRule().MatchString(r.revision) && !strings.Contains(r.revision, "..") &&
		(len(parts) < 3 || safeName(r.file) == nil) && (r.quant == "" || r.file == "" && quantRule().MatchString(r.quant))
	if !ok {
		return nil, fmt.Errorf("%q is no Hugging Face source; it is hf:org/repo, hf:org/repo/file, hf:org/repo:Q4_K_M, each with an optional @revision", "hf:"+rest)
	}
	return r, nil
}

func (r *repo) String() string {
	s := "hf:" + r.id
	if r.file != "" {
		s += "/" + r.file
	}
	if r.quant != "" {
		s += ":" + r.quant
	}
	if r.revision != "main" {
		s += "@" + r.revision
	}
	return s
}

func hfEndpoint() string {
	return strings.TrimRight(cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co"), "/")
}

// hfToken is the user's token, from where the Python library looks for it.
func hfToken() string {
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if t := strings.TrimSpace(os.Getenv(name)); t != "" {
			return t
		}
	}
	b, err := readSmall(cmp.Or(os.Getenv("HF_TOKEN_PATH"), filepath.Join(hfHome(), "token")), 1<<16)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// header carries the token, except over plain http to another machine.
func (r *repo) header() http.Header {
	h := http.Header{}
	u, err := url.Parse(hfEndpoint())
	if t := hfToken(); t != "" && err == nil && (u.Scheme == "https" || loopback(u.Hostname())) {
		h.Set("Authorization", "Bearer "+t)
	}
	return h
}

func (r *repo) fileURL(name string) string {
	return hfEndpoint() + "/" + r.id + "/resolve/" + url.PathEscape(r.revision) + "/" + escapePath(name)
}

func escapePath(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// pull brings the files into the cache that the Python library uses too.
func (r *repo) pull(ctx context.Context, j *job) (manifest, error) {
	if offline() {
		if l, ok := r.local(); ok {
			return manifest{Weights: l.Path, Licence: l.Licence}, nil
		}
		return manifest{}, errors.New("HF_HUB_OFFLINE is set and the model is not in the cache; unset it to download")
	}
	if _, err := checkURL(hfEndpoint(), true); err != nil {
		return manifest{}, fmt.Errorf("HF_ENDPOINT: %w", err)
	}
	info, err := r.info(ctx, j)
	if err != nil {
		return manifest{}, err
	}
	wanted, main, err := r.choose(info.names())
	if err != nil {
		return manifest{}, err
	}
	m := manifest{Licence: info.licence(r.id)}
	c := r.cache()
	var commit string
	for _, name := range wanted {
		got, err := r.bring(ctx, j, c, name)
		if err != nil {
			return m, err
		}
		if commit != "" && got.commit != commit {
			return m, fmt.Errorf("%s changed while it was being pulled; pull it again", r.id)
		}
		commit = got.commit
		if isLicence(name) {
			m.Licence.Files = append(m.Licence.Files, got.path)
		}
	}
	if err := c.setRef(r.revision, commit); err != nil {
		return m, err
	}
	m.Weights = filepath.Join(c.snapshot(commit), filepath.FromSlash(main))
	for _, name := range towers(wanted, main) {
		m.Projector = filepath.Join(c.snapshot(commit), filepath.FromSlash(name))
	}
	m.Owned = readClaims(j.dir)
	return m, nil
}

// repoInfo is the part of the hub's description of a repository that is used.
type repoInfo struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
	Card struct {
		Licence     any    `json:"license"` // a string, seldom a list
		LicenceName string `json:"license_name"`
		LicenceLink string `json:"license_link"`
	} `json:"cardData"`
}

func (r *repo) info(ctx context.Context, j *job) (repoInfo, error) {
	var info repoInfo
	body, h, err := j.store.small(ctx, hfEndpoint()+"/api/models/"+r.id+"/revision/"+url.PathEscape(r.revision), r.header(), j.progress.Note)
	if err != nil {
		return info, r.explain(err, h)
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return info, fmt.Errorf("%s describes %s in words that are not JSON: %w", hfEndpoint(), r.id, err)
	}
	return info, nil
}

// names are the repository's files, less those with names that could lead
// out of the cache.
func (i repoInfo) names() []string {
	var names []string
	for _, s := range i.Siblings {
		if safeName(s.Name) == nil {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (i repoInfo) licence(id string) Licence {
	page := "https://huggingface.co/" + id
	key, _ := i.Card.Licence.(string)
	if l, ok := loadCatalogue().Licences[key]; ok {
		return l
	}
	name := cmp.Or(i.Card.LicenceName, key, "unknown: see the model's page")
	if link := i.Card.LicenceLink; strings.HasPrefix(link, "https://") {
		return Licence{Name: name, URL: link}
	}
	return Licence{Name: name, URL: page}
}

func isLicence(name string) bool {
	base := strings.ToUpper(path.Base(name))
	return strings.HasPrefix(base, "LICENSE") || strings.HasPrefix(base, "LICENCE") || strings.HasPrefix(base, "NOTICE") || strings.HasPrefix(base, "USAGE_POLICY")
}

// explain turns the hub's refusals into what the user has to do.
func (r *repo) explain(err error, h http.Header) error {
	var st *statusError
	if !errors.As(err, &st) {
		return err
	}
	reason, page := h.Get("X-Error-Code"), hfEndpoint()+"/"+r.id
	switch {
	case st.code == http.StatusUnauthorized && reason != "GatedRepo" && hfToken() != "":
		return fmt.Errorf("%w: the token in HF_TOKEN is refused, or there is no repository %s; check the name, or make a new token at %s/settings/tokens", ErrGated, page, hfEndpoint())
	case st.code == http.StatusUnauthorized, st.code == http.StatusForbidden:
		return fmt.Errorf("%w: accept the licence at %s with your account, then set HF_TOKEN to a token of yours (%s/settings/tokens)", ErrGated, page, hfEndpoint())
	case st.code == http.StatusNotFound && reason == "EntryNotFound":
		return fmt.Errorf("%w: %s has no such file: see %s/tree/%s", ErrUnknown, r.id, page, r.revision)
	case st.code == http.StatusNotFound && reason == "RevisionNotFound":
		return fmt.Errorf("%w: %s has no revision %s", ErrUnknown, r.id, r.revision)
	case st.code == http.StatusNotFound:
		return fmt.Errorf("%w: there is no repository %s", ErrUnknown, page)
	}
	return err
}

// choose picks the files that the model needs, and the one, or ".", that is
// the model.
func (r *repo) choose(names []string) (wanted []string, main string, err error) {
	for _, n := range names {
		if isLicence(n) && !strings.Contains(n, "/") {
			wanted = append(wanted, n)
		}
	}
	switch {
	case r.file != "":
		if !slices.Contains(names, r.file) {
			return nil, "", fmt.Errorf("%w: %s has no file %s", ErrUnknown, r.id, r.file)
		}
		return slices.Concat(wanted, shards(names, r.file), towers(names, r.file)), r.file, nil
	case r.quant == "" && slices.Contains(names, "config.json") && slices.ContainsFunc(names, rootSafetensors):
		for _, n := range names {
			if wantedOfFolder(n) {
				wanted = append(wanted, n)
			}
		}
		return wanted, ".", nil
	case r.quant == "" && !slices.ContainsFunc(adapterFiles, func(n string) bool { return !slices.Contains(names, n) }):
		return slices.Concat(wanted, adapterFiles), ".", nil
	}
	file, err := r.chooseGGUF(names)
	return slices.Concat(wanted, shards(names, file), towers(names, file)), file, err
}

// adapterFiles are those of an adapter in PEFT's format.
var adapterFiles = []string{"adapter_config.json", "adapter_model.safetensors"}

// isTowers recognises the file of a GGUF model's picture and sound towers, as
// llama.cpp's tools name it.
func isTowers(file string) bool { return strings.Contains(strings.ToLower(path.Base(file)), "mmproj") }

// towers is the file of towers in the folder of a GGUF file, none if that is one
// itself: of several that in half precision, which loses nothing to speak of,
// else the first.
func towers(names []string, file string) []string {
	var found []string
	for _, n := range names {
		if isTowers(n) && strings.HasSuffix(n, ".gguf") && path.Dir(n) == path.Dir(file) {
			found = append(found, n)
		}
	}
	if len(found) == 0 || isTowers(file) || !strings.HasSuffix(file, ".gguf") {
		return nil
	}
	if i := slices.IndexFunc(found, func(n string) bool { return namesQuant(path.Base(n), "F16") }); i >= 0 {
		return found[i : i+1]
	}
	return found[:1]
}

func (r *repo) chooseGGUF(names []string) (string, error) {
	var ggufs, fit []string
	for _, n := range names {
		m := shardRule().FindStringSubmatch(n)
		if !strings.HasSuffix(n, ".gguf") || isTowers(n) || m != nil && m[2] != "00001" {
			continue
		}
		ggufs = append(ggufs, n)
		if r.quant != "" && namesQuant(path.Base(n), r.quant) {
			fit = append(fit, n)
		}
	}
	if r.quant == "" {
		fit = ggufs
	}
	switch {
	case len(ggufs) == 0:
		return "", fmt.Errorf("%s has neither config.json with safetensors nor a .gguf file; name a file: hf:%s/FILE", r.id, r.id)
	case len(fit) != 1:
		return "", fmt.Errorf("%s: %d files fit; name one: hf:%s/FILE, where FILE is one of %s", r, len(fit), r.id, strings.Join(ggufs, ", "))
	}
	return fit[0], nil
}

// namesQuant says whether a file name has the quantisation as one of its
// words: F16 is not in m-BF16.gguf.
func namesQuant(file, quant string) bool {
	words := strings.FieldsFunc(strings.ToLower(file), func(c rune) bool { return c == '-' || c == '.' })
	return slices.Contains(words, strings.ToLower(quant))
}

// shards are all pieces of a file that is split in the usual way.
func shards(names []string, first string) []string {
	m := shardRule().FindStringSubmatch(first)
	if m == nil {
		return []string{first}
	}
	var all []string
	for _, n := range names {
		if k := shardRule().FindStringSubmatch(n); k != nil && k[1] == m[1] && k[3] == m[3] && k[4] == m[4] {
			all = append(all, n)
		}
	}
	return all
}

func rootSafetensors(name string) bool {
	return !strings.Contains(name, "/") && strings.HasSuffix(name, ".safetensors")
}

var moduleFolder = pattern(`^\d+_[A-Za-z]+/[^/]+\.(json|safetensors)$`)

// wantedOfFolder takes weights, configurations, tokenizers and templates, and
// leaves the same weights in other formats, pictures and scripts.
func wantedOfFolder(name string) bool {
	if moduleFolder().MatchString(name) {
		return true // sentence-transformers: 1_Pooling/, 2_Dense/
	}
	if strings.Contains(name, "/") || strings.HasPrefix(name, "consolidated") {
		return false
	}
	switch path.Ext(name) {
	case ".safetensors", ".json", ".jinja", ".model":
		return true
	}
	return name == "README.md"
}

// remote is what the hub says of one file before it is fetched.
type remoteFile struct {
	commit, etag string
	size         int64
}

// head asks for a file's checksum and size. The answer that carries them may
// be a redirect to the server that has the bytes: it is not followed.
func (r *repo) head(ctx context.Context, j *job, name string) (remoteFile, error) {
	client := *j.store.client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Host == via[0].URL.Host && req.URL.Scheme == via[0].URL.Scheme && len(via) < 5 {
			return nil // a repository that has been renamed
		}
		return http.ErrUseLastResponse
	}
	var f remoteFile
	var header http.Header
	err := j.store.again(ctx, j.progress.Note, func() (int64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, r.fileURL(name), nil)
		if err != nil {
			return 0, &permanent{err}
		}
		req.Header = r.header()
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("User-Agent", userAgent)
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		_ = resp.Body.Close()
		header = resp.Header
		if resp.StatusCode >= 400 {
			return 0, newStatusError(resp)
		}
		f, err = describe(resp)
		return 0, err
	})
	if err != nil {
		return f, fmt.Errorf("%s: %w", name, r.explain(err, header))
	}
	return f, nil
}

func describe(resp *http.Response) (remoteFile, error) {
	h := resp.Header
	etag := cmp.Or(h.Get("X-Linked-ETag"), h.Get("ETag"))
	f := remoteFile{
		commit: h.Get("X-Repo-Commit"),
		etag:   strings.Trim(strings.TrimPrefix(etag, "W/"), `"`),
		size:   -1,
	}
	size := h.Get("X-Linked-Size")
	if size == "" && resp.StatusCode < 300 {
		size = h.Get("Content-Length")
	}
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
		f.size = n
	}
	if !commitRule().MatchString(f.commit) || !etagRule().MatchString(f.etag) {
		return f, &permanent{fmt.Errorf("%s is no Hugging Face server: it names no commit and checksum (X-Repo-Commit %q, ETag %q)", redact(resp.Request.URL), f.commit, f.etag)}
	}
	return f, nil
}
