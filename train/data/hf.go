package data

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// dataset is a repository of data on Hugging Face. Its files are kept in the
// cache that the Python library shares
// (https://huggingface.co/docs/hub/local-cache): they lie in
// datasets--ORG--NAME/snapshots/COMMIT, and refs/REVISION says which commit a
// revision was at.
type dataset struct {
	id, revision string
	endpoint     string
	token        string
	root         string
	client       *http.Client
}

var (
	datasetRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	branchRule  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	commitRule  = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// parseDataset reads hf:ORG/NAME[@REVISION].
func parseDataset(source string) (*dataset, error) {
	id, revision, pinned := strings.Cut(strings.TrimPrefix(source, "hf:"), "@")
	if !pinned {
		revision = "main"
	}
	if !datasetRule.MatchString(id) || !branchRule.MatchString(revision) || strings.Contains(id, "..") || strings.Contains(revision, "..") {
		return nil, fmt.Errorf("%q is no data set of Hugging Face; it is hf:ORG/NAME with an optional @REVISION", source)
	}
	d := &dataset{id: id, revision: revision, client: &http.Client{Transport: patient()}}
	home := os.Getenv("HF_HOME")
	if home == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("set HF_HOME: %w", err)
			}
			cache = filepath.Join(user, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	d.root = filepath.Join(cmp.Or(os.Getenv("HF_HUB_CACHE"), filepath.Join(home, "hub")), "datasets--"+strings.ReplaceAll(id, "/", "--"))
	d.endpoint = strings.TrimRight(cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co"), "/")
	d.token = os.Getenv("HF_TOKEN")
	if d.token == "" {
		b, err := os.ReadFile(cmp.Or(os.Getenv("HF_TOKEN_PATH"), filepath.Join(home, "token")))
		if err == nil {
			d.token = strings.TrimSpace(string(b))
		}
	}
	return d, nil
}

// patient waits a minute for an answer to begin, and as long as it takes for
// the rest.
func patient() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = time.Minute
	return t
}

// files are the data files of a part, fetched where they are not here yet.
func (d *dataset) files(ctx context.Context, config, part string) ([]string, error) {
	list, err := d.describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("source hf:%s: %w", d.id, err)
	}
	snapshot := filepath.Join(d.root, "snapshots", list.Commit)
	bring := func(name string) error {
		if err := d.bring(ctx, snapshot, list.Commit, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	picked, err := pickFiles(list.Names, func() ([]byte, error) {
		if err := bring("README.md"); err != nil {
			return nil, err
		}
		return os.ReadFile(filepath.Join(snapshot, "README.md"))
	}, config, part)
	if err != nil {
		return nil, fmt.Errorf("source hf:%s: %w", d.id, err)
	}
	for _, name := range picked {
		if err := bring(name); err != nil {
			return nil, fmt.Errorf("source hf:%s: %w", d.id, err)
		}
	}
	return within(snapshot, picked), nil
}

// listing is a data set's files at a commit.
type listing struct {
	Commit string   `json:"commit"`
	Names  []string `json:"names"`
}

// describe asks what files there are. The answer is kept, so that a run that
// goes on later reads the same ones, without a network too.
func (d *dataset) describe(ctx context.Context) (listing, error) {
	var l listing
	kept := filepath.Join(d.root, ".lapidary-"+d.revision+".json")
	if b, err := os.ReadFile(kept); err == nil && json.Unmarshal(b, &l) == nil && commitRule.MatchString(l.Commit) {
		l.Names = slices.DeleteFunc(l.Names, func(n string) bool { return !filepath.IsLocal(n) })
		return l, nil
	}
	if slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(os.Getenv("HF_HUB_OFFLINE"))) {
		return l, errors.New("it is not on this machine and HF_HUB_OFFLINE is set; unset it to fetch the data set")
	}
	resp, err := d.get(ctx, d.endpoint+"/api/datasets/"+d.id+"/revision/"+url.PathEscape(d.revision), 0)
	if err != nil {
		return l, err
	}
	defer resp.Body.Close()
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<28)).Decode(&info); err != nil {
		return l, fmt.Errorf("%s describes it in words that are not JSON: %w", d.endpoint, err)
	}
	if !commitRule.MatchString(info.SHA) {
		return l, fmt.Errorf("%s names no commit of it", d.endpoint)
	}
	l.Commit = info.SHA
	for _, s := range info.Siblings {
		if filepath.IsLocal(s.Name) {
			l.Names = append(l.Names, s.Name)
		}
	}
	slices.Sort(l.Names)
	return l, d.remember(kept, l)
}

func (d *dataset) remember(name string, l listing) error {
	if err := os.MkdirAll(filepath.Join(d.root, "refs"), 0o755); err != nil {
		return err
	}
	if !commitRule.MatchString(d.revision) {
		if err := replaceFile(filepath.Join(d.root, "refs", d.revision), []byte(l.Commit)); err != nil {
			return err
		}
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return replaceFile(name, b)
}

func replaceFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is only space
	}
	return err
}

// errRange: what an interrupted fetch left is not the beginning of the file.
var errRange = errors.New("what is here of the file is longer than the file; fetch it again")

// get begins to fetch from a byte on.
func (d *dataset) get(ctx context.Context, address string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	// A token goes over https only, or to this machine itself.
	host := req.URL.Hostname()
	if d.token != "" && (req.URL.Scheme == "https" || host == "localhost" || host == "127.0.0.1" || host == "::1") {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return resp, nil
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, errors.New("its owner does not give it to everybody: accept its terms on the web page and set HF_TOKEN")
	case http.StatusRequestedRangeNotSatisfiable:
		return nil, errRange
	case http.StatusNotFound:
		return nil, errors.New("there is no such data set, revision or file")
	}
	return nil, fmt.Errorf("%s answers %s", d.endpoint, resp.Status)
}

// bring fetches one file. What an interrupted fetch left is gone on with, and
// nothing has the file's name before it is whole.
func (d *dataset) bring(ctx context.Context, snapshot, commit, name string) error {
	target := filepath.Join(snapshot, filepath.FromSlash(name))
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target+".partial", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	resp, err := d.get(ctx, d.endpoint+"/datasets/"+d.id+"/resolve/"+commit+"/"+strings.Join(segments, "/"), have)
	if err != nil {
		if errors.Is(err, errRange) {
			_ = os.Remove(target + ".partial") // or the next fetch says so again
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if err := f.Truncate(0); err != nil {
			return err
		}
		if have, err = f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	n, err := io.Copy(f, resp.Body)
	if err != nil {
		return fmt.Errorf("interrupted after %d bytes; start again to go on: %w", have+n, err)
	}
	if err := verify(f, have+n, resp); err != nil {
		_ = os.Remove(target + ".partial") // or the next fetch says so again
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(target+".partial", target)
}

// verify checks a file against what its server promised: X-Linked-Etag is the
// SHA-256 of large files.
func verify(f *os.File, size int64, resp *http.Response) error {
	head := resp.Header
	for r := resp; r != nil && r.Request != nil; r = r.Request.Response { // the redirects on the way
		if r.Header.Get("X-Linked-Etag") != "" {
			head = r.Header
		}
	}
	if want, err := strconv.ParseInt(head.Get("X-Linked-Size"), 10, 64); err == nil && want != size {
		return fmt.Errorf("%d bytes came where %d were promised; fetch it again", size, want)
	}
	want := strings.Trim(head.Get("X-Linked-Etag"), `"`)
	if len(want) != 64 {
		return nil
	}
	h := sha256.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != want {
		return errors.New("wrong checksum; fetch it again")
	}
	return nil
}

// pickFiles chooses the data files of a part: those that the configurations in
// the head of README.md name, else those whose path names the part
// (https://huggingface.co/docs/hub/datasets-data-files-configuration).
func pickFiles(names []string, readme func() ([]byte, error), config, part string) ([]string, error) {
	part = cmp.Or(part, "train")
	var configs []cardConfig
	if slices.Contains(names, "README.md") {
		b, err := readme()
		if err != nil {
			return nil, err
		}
		if configs, err = cardConfigs(b); err != nil {
			return nil, err
		}
	}
	data := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return formatOf(n) == "" || strings.EqualFold(filepath.Base(n), "README.md") })
	if len(configs) > 0 {
		return byConfig(data, configs, config, part)
	}
	if config != "" {
		data = slices.DeleteFunc(data, func(n string) bool { return !strings.HasPrefix(n, config+"/") })
	}
	picked := slices.DeleteFunc(slices.Clone(data), func(n string) bool { return partOfName(n) != partNames[part] && !strings.Contains(n, part) })
	if len(picked) == 0 && part == "train" { // nothing names a part: all is for training
		picked = slices.DeleteFunc(slices.Clone(data), func(n string) bool { return partOfName(n) != "" })
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("no file for the part %s among %d data files (%s); give a path to the files, or another part", part, len(data), short(strings.Join(data, ", ")))
	}
	return picked, nil
}

// partNames are the words that stand for a part in file names.
var partNames = map[string]string{
	"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
	"test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}

// partOfName is the part that a file's path names, "" for none.
func partOfName(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("/._- ", r) })
	for _, w := range slices.Backward(words) {
		if p := partNames[w]; p != "" {
			return p
		}
	}
	return ""
}

// cardConfig is an entry of configs in a data set's README.md.
type cardConfig struct {
	Name    string `yaml:"config_name"`
	Files   any    `yaml:"data_files"`
	Dir     string `yaml:"data_dir"`
	Default bool   `yaml:"default"`
}

func cardConfigs(readme []byte) ([]cardConfig, error) {
	text := strings.ReplaceAll(string(readme), "\r\n", "\n")
	rest, ok := strings.CutPrefix(text, "---\n")
	head, _, closed := strings.Cut(rest, "\n---")
	if !ok || !closed {
		return nil, nil
	}
	var card struct {
		Configs []cardConfig `yaml:"configs"`
	}
	if err := yaml.Unmarshal([]byte(head), &card); err != nil {
		return nil, fmt.Errorf("README.md: %w", err)
	}
	return card.Configs, nil
}

func byConfig(data []string, configs []cardConfig, config, part string) ([]string, error) {
	var known []string
	at := -1
	for i, c := range configs {
		known = append(known, c.Name)
		if c.Name == config || (config == "" && (c.Default || c.Name == "default")) {
			at = i
		}
	}
	if at < 0 && config == "" && len(configs) == 1 {
		at = 0
	}
	if at < 0 {
		return nil, fmt.Errorf("it has the configurations %s: give one as config", strings.Join(known, ", "))
	}
	patterns := configs[at].patterns(part)
	picked := slices.DeleteFunc(slices.Clone(data), func(n string) bool {
		return !slices.ContainsFunc(patterns, func(p string) bool { return matches(p, n) })
	})
	if len(picked) == 0 {
		return nil, fmt.Errorf("its configuration %s has no file for the part %s", configs[at].Name, part)
	}
	return picked, nil
}

// patterns are the data files of a part, which a card writes as one pattern, a
// list, or a list of {split, path}.
func (c *cardConfig) patterns(part string) []string {
	var out []string
	add := func(v any) {
		for _, p := range asList(v) {
			if s, ok := p.(string); ok {
				out = append(out, strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(c.Dir, "/")+"/"+s, "/"), "./"))
			}
		}
	}
	for _, item := range asList(c.Files) {
		switch item := item.(type) {
		case string:
			if part == "train" {
				add(item)
			}
		case map[string]any:
			if item["split"] == part {
				add(item["path"])
			}
		}
	}
	return out
}

func asList(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}
