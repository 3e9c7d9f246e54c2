package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The cache of the Python library huggingface_hub, which others share
// (https://huggingface.co/docs/hub/local-cache):
//
//	models--ORG--NAME/blobs/ETAG              the bytes
//	models--ORG--NAME/refs/REVISION           the commit that a branch was at
//	models--ORG--NAME/snapshots/COMMIT/FILE   a link to the blob
//	.locks/models--ORG--NAME/ETAG.lock        held while a blob is written

// etagRule is what may become a file name: checksums, and the plain tags of
// mirrors.
var etagRule = pattern(`^[A-Za-z0-9_-]{1,128}$`)

func hfHome() string {
	if h := os.Getenv("HF_HOME"); h != "" {
		return expandHome(os.ExpandEnv(h))
	}
	if x := os.Getenv("XDG_CACHE_HOME"); x != "" {
		return filepath.Join(x, "huggingface")
	}
	return expandHome("~/.cache/huggingface")
}

func hfCacheRoot() string {
	dir := cmp.Or(os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE"))
	if dir == "" {
		return filepath.Join(hfHome(), "hub")
	}
	return expandHome(os.ExpandEnv(dir))
}

func offline() bool {
	switch strings.ToUpper(os.Getenv("HF_HUB_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// repoCache is one repository's part of the cache.
type repoCache struct{ root, folder string }

func (r *repo) cache() repoCache {
	return repoCache{hfCacheRoot(), "models--" + strings.ReplaceAll(r.id, "/", "--")}
}

func (c repoCache) path(parts ...string) string {
	return filepath.Join(append([]string{c.root, c.folder}, parts...)...)
}

func (c repoCache) snapshot(commit string) string { return c.path("snapshots", commit) }

// commit is what a revision was at when it was last pulled; "" when it is not
// here.
func (c repoCache) commit(revision string) string {
	if commitRule().MatchString(revision) {
		return revision
	}
	b, err := readSmall(c.path("refs", filepath.FromSlash(revision)), 256)
	if commit := strings.TrimSpace(string(b)); err == nil && commitRule().MatchString(commit) {
		return commit
	}
	return ""
}

func (c repoCache) setRef(revision, commit string) error {
	if commitRule().MatchString(revision) || c.commit(revision) == commit {
		return nil
	}
	path := c.path("refs", filepath.FromSlash(revision))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeFile(path, []byte(commit)) // without a newline, as the library does
}

// local finds the model in the cache, whoever downloaded it.
func (r *repo) local() (Local, bool) {
	c := r.cache()
	commit := c.commit(r.revision)
	if commit == "" {
		return Local{}, false
	}
	dir := c.snapshot(commit)
	names, err := filesBelow(dir)
	if err != nil {
		return Local{}, false
	}
	_, main, err := r.choose(names)
	if err != nil {
		return Local{}, false
	}
	l := Local{Path: filepath.Join(dir, filepath.FromSlash(main)), Source: r.String()}
	if main == "." && !completeFolder(dir) || main != "." && !completeShards(dir, main) {
		return Local{}, false
	}
	if fi, err := os.Stat(l.Path); err == nil {
		l.Modified = fi.ModTime()
	}
	l.Size = diskSize(l.Path)
	l.Licence = cardLicence(dir, r.id)
	return l, true
}

var cardRule = pattern(`(?m)^license:\s*(\S+)\s*$`)

// cardLicence reads the licence off the model card in a snapshot.
func cardLicence(dir, id string) Licence {
	b, err := readSmall(filepath.Join(dir, "README.md"), maxManifest)
	m := cardRule().FindSubmatch(b)
	if err != nil || m == nil {
		return Licence{}
	}
	var info repoInfo
	info.Card.Licence = string(m[1])
	return info.licence(id)
}

func filesBelow(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !exists(p) {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

// completeFolder says whether all weights are there that the index names;
// another program may have stopped half-way.
func completeFolder(dir string) bool {
	b, err := readSmall(filepath.Join(dir, "model.safetensors.index.json"), 64<<20)
	if err != nil {
		return exists(filepath.Join(dir, "model.safetensors")) || exists(filepath.Join(dir, "adapter_model.safetensors"))
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if json.Unmarshal(b, &index) != nil || len(index.Map) == 0 {
		return false
	}
	for _, file := range index.Map {
		if safeName(file) != nil || !exists(filepath.Join(dir, filepath.FromSlash(file))) {
			return false
		}
	}
	return true
}

func completeShards(dir, first string) bool {
	m := shardRule().FindStringSubmatch(first)
	if m == nil {
		return true
	}
	found, err := filepath.Glob(filepath.Join(globEscape(dir), globEscape(filepath.FromSlash(m[1]))+"-*-of-"+m[3]+m[4]))
	return err == nil && fmt.Sprintf("%05d", len(found)) == m[3]
}

// unfinishedBlob ends the names of blobs that are on their way. The library's
// own end in ".incomplete", and programs that clean the cache know that.
const unfinishedBlob = ".lapidary.incomplete"

// claimsName is a file in a pull's folder with the blobs that it adds to the
// cache. It is written before they are, so that rm finds them even when the
// pull was killed.
const claimsName = "claims.json"

func readClaims(dir string) (blobs []string) {
	b, err := readSmall(filepath.Join(dir, claimsName), maxManifest)
	if err != nil || json.Unmarshal(b, &blobs) != nil {
		return nil
	}
	return blobs
}

func claim(dir, blob string) error {
	claims := readClaims(dir)
	if slices.Contains(claims, blob) {
		return nil
	}
	return writeJSON(filepath.Join(dir, claimsName), append(claims, blob))
}

// brought is a file that is now in the cache.
type brought struct {
	path, commit string
}

// bring downloads one file into the cache, or finds it there.
func (r *repo) bring(ctx context.Context, j *job, c repoCache, name string) (brought, error) {
	f, err := r.head(ctx, j, name)
	if err != nil {
		return brought{}, err
	}
	b := brought{path: filepath.Join(c.snapshot(f.commit), filepath.FromSlash(name)), commit: f.commit}
	if name == r.file {
		if err := j.promised(f.etag); err != nil {
			return b, fmt.Errorf("%s: %w", name, err)
		}
	}
	blob := c.path("blobs", f.etag)
	unlock, err := c.lock(ctx, j, f.etag)
	if err != nil {
		return b, err
	}
	defer unlock()
	fi, err := os.Stat(blob)
	here := err == nil && (f.size < 0 || fi.Size() == f.size)
	if !here {
		if err := claim(j.dir, blob); err != nil {
			return b, err
		}
	}
	if j.fresh || !here {
		if err := r.download(ctx, j, name, blob, f); err != nil {
			return b, err
		}
	}
	return b, point(blob, b.path)
}

func (r *repo) download(ctx context.Context, j *job, name, blob string, f remoteFile) error {
	it := item{dest: blob, partial: blob + unfinishedBlob, label: name, size: f.size, addressed: true}
	switch len(f.etag) {
	case 64:
		it.digest = digest{"sha256", f.etag}
	case 40:
		it.digest = digest{"git-sha1", f.etag}
	}
	_, err := j.get(ctx, it, web{store: j.store, url: r.fileURL(name), header: r.header(), pinned: true, note: j.progress.Note})
	return err
}

// lock is the Python library's own lock on a blob: the same call on the same
// file, so that the two wait for each other.
func (c repoCache) lock(ctx context.Context, j *job, etag string) (unlock func(), err error) {
	dir := filepath.Join(c.root, ".locks", c.folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(dir, etag+".lock"))
	ok, err := l.TryLock()
	if err == nil && !ok {
		j.progress.Note("another program is downloading the same file; waiting for it")
		_, err = l.TryLockContext(ctx, 100*time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", l.Path(), err)
	}
	return func() { _ = l.Close() }, nil
}

// point makes the snapshot's link. Where the system has no links for
// ordinary users, the blob itself moves there, as the Python library does.
func point(blob, at string) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	to, err := filepath.Rel(filepath.Dir(at), blob)
	if err != nil {
		return err
	}
	if old, err := os.Readlink(at); err == nil && old == to {
		return nil
	}
	if err := os.Remove(at); err != nil && !isMissing(err) {
		return err
	}
	if os.Symlink(to, at) == nil {
		return nil
	}
	return errors.Join(os.Rename(blob, at))
}
