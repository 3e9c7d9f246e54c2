package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// address is a model file at a web address, with the checksum that the user
// may have written behind it: https://host/model.gguf#sha256=….
type address struct {
	text   string // canonical
	url    string // without the fragment
	file   string // what it is called on disk
	digest digest
}

var sha256Rule = pattern(`^[0-9a-fA-F]{64}$`)

func parseAddress(text string) (*address, error) {
	u, err := checkURL(text, false)
	if err != nil {
		return nil, err
	}
	a := &address{text: text}
	if u.Fragment != "" {
		sum, ok := strings.CutPrefix(u.Fragment, "sha256=")
		if !ok || !sha256Rule().MatchString(sum) {
			return nil, fmt.Errorf("%s#%s: after the # there must be sha256= and 64 hexadecimal digits", redact(u), u.Fragment)
		}
		a.digest = sha256Digest(sum)
	}
	u.Fragment = ""
	a.url = u.String()
	name, err := url.PathUnescape(path.Base(u.EscapedPath()))
	if err != nil {
		name = "model"
	}
	a.file = strings.TrimPrefix(flatName(name), ".")
	return a, nil
}

// flatName makes a plain file name of a server's, keeping its ending.
func flatName(name string) string {
	name = strings.Trim(unsafeRune().ReplaceAllString(name, "_"), "._-")
	if len(name) > 120 {
		name = name[len(name)-120:]
	}
	if name == "" || safeName(name) != nil || strings.EqualFold(name, manifestName) {
		name = "model_" + name
	}
	return name
}

func (a *address) String() string       { return a.text }
func (a *address) local() (Local, bool) { return Local{}, false }

func (a *address) pull(ctx context.Context, j *job) (manifest, error) {
	it := item{dest: filepath.Join(j.dir, a.file), size: -1, digest: a.digest}
	f, err := j.get(ctx, it, web{store: j.store, url: a.url, pinned: a.digest.hex != "", note: j.progress.Note})
	if err != nil {
		return manifest{}, err
	}
	if err := looksLikeModel(it.dest); err != nil {
		return manifest{}, errors.Join(err, os.Remove(it.dest))
	}
	return manifest{Weights: a.file, Files: []File{f}, Licence: Licence{Name: "unknown: see where it comes from", URL: a.url}}, nil
}

// looksLikeModel keeps error pages, which servers like to send with status
// 200, out of the store.
func looksLikeModel(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 9)
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s is no model: %w", filepath.Base(path), err)
	}
	// safetensors: a header length below 100 MB in eight bytes, then JSON.
	if string(head[:4]) == "GGUF" || head[8] == '{' && head[5]|head[6]|head[7] == 0 {
		return nil
	}
	return fmt.Errorf("%s is no model: neither GGUF nor safetensors begins with %q; look at the address in a browser", filepath.Base(path), head)
}
