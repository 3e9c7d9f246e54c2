package plugin

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"lapidary/hub"
)

// The packages that plugins come in. CUDA's names the others that it needs in
// its metadata: the plugin itself, and NVIDIA's libraries under an extra.
var packages = map[Kind]string{
	CPU:  "lammps-jax-pjrt-cpu",
	TPU:  "libtpu",
	CUDA: "jax-cuda%s-plugin",
}

var (
	requireRule = regexp.MustCompile(`(?m)^Requires-Dist:[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)[ \t]*([^;\r\n]*?)[ \t]*(?:;(.*))?$`)
	licenceRule = regexp.MustCompile(`(?m)^License(?:-Expression)?:[ \t]*(\S.*?)[ \t]*$`)
	specRule    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*([<>=!~]=?=?[A-Za-z0-9._+!*-]+(,[<>=!~]=?=?[A-Za-z0-9._+!*-]+)*)?$`)
)

// cudaExtra names NVIDIA's libraries among the requirements of JAX's package.
const cudaExtra = `extra == "with-cuda"`

// fromPip unpacks wheels beside each other, as pip would into site-packages:
// CUDA's plugin looks for NVIDIA's libraries there, relative to itself.
func (j *job) fromPip(ctx context.Context) (manifest, error) {
	root := packages[j.kind]
	if j.kind == CUDA {
		root = fmt.Sprintf(root, j.cuda)
	}
	about, err := j.wheel(ctx, root)
	if err != nil {
		return manifest{}, err
	}
	if j.kind == CUDA {
		needs := cudaNeeds(about)
		j.progress.Note(fmt.Sprintf("%s needs %d packages more, NVIDIA's libraries among them, which come under NVIDIA's licence: over 2 GB", root, len(needs)))
		for _, need := range needs {
			if _, err := j.wheel(ctx, need); err != nil {
				return manifest{}, err
			}
		}
	}
	found := inSitePackages(place{j.tree(), FromPip})
	if len(found) == 0 {
		return manifest{}, fmt.Errorf("package %s holds no plugin where one was expected; name another place with --from", root)
	}
	library, err := filepath.Rel(j.tree(), found[0].Path)
	m := manifest{Name: found[0].Name, Kind: j.kind, Version: found[0].Version, Source: FromPip,
		Licence: "unknown: see the package's page", Library: filepath.ToSlash(library)}
	if s := licenceRule.FindStringSubmatch(about); s != nil {
		m.Licence = s[1]
	}
	return m, err
}

// cudaNeeds are the packages that JAX's plugin package requires, as pip takes
// them, those for running without an installed CUDA included.
func cudaNeeds(about string) []string {
	header, _, _ := strings.Cut(strings.ReplaceAll(about, "\r\n", "\n"), "\n\n")
	var needs []string
	for _, m := range requireRule.FindAllStringSubmatch(header, -1) {
		condition := strings.ReplaceAll(m[3], "'", `"`)
		spec := m[1] + strings.ReplaceAll(strings.Trim(m[2], "()"), " ", "")
		if (condition == "" || strings.Contains(condition, cudaExtra)) && specRule.MatchString(spec) {
			needs = append(needs, spec)
		}
	}
	return needs
}

// wheel brings one package into the tree and returns its metadata.
func (j *job) wheel(ctx context.Context, spec string) (about string, err error) {
	name := spec[:len(spec)-len(strings.TrimLeft(spec, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"))]
	dir := filepath.Join(j.stage, "wheels", name)
	j.progress.File(name, -1)
	wheel, err := onlyWheel(dir)
	if err != nil {
		if err := pip(ctx, dir, spec, j.progress.At); err != nil {
			return "", err
		}
		if wheel, err = onlyWheel(dir); err != nil {
			return "", fmt.Errorf("pip brought no wheel for %s: %w", spec, err)
		}
	}
	about, err = unpackWheel(ctx, wheel, j.tree())
	if err != nil && ctx.Err() == nil && !errors.Is(err, hub.ErrNoSpace) {
		_ = os.RemoveAll(dir) // damaged: the next install fetches it anew
	}
	return about, err
}

// onlyWheel finds a wheel of an earlier install. pip gives a wheel its name
// when it is whole.
func onlyWheel(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".whl" {
			return filepath.Join(dir, e.Name()), nil
		}
	}
	return "", os.ErrNotExist
}

// pip downloads one wheel to dir with the user's own pip, so that their index,
// proxies and certificates hold. Nothing of the package is run.
func pip(ctx context.Context, dir, spec string, at func(int64)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	stop := watch(dir, at)
	defer stop()
	reason := "none was found"
	for _, python := range pythons() {
		path, err := exec.LookPath(python[0])
		if err != nil {
			continue
		}
		args := append(python[1:len(python):len(python)], "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
			"--no-cache-dir", "--progress-bar=off", "--no-input", "--disable-pip-version-check", "--dest", dir, "--", spec)
		cmd := exec.CommandContext(ctx, path, args...)
		// Python imports from the folder it runs in: it must not be the user's.
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "TEMP="+dir, "TMP="+dir)
		cmd.WaitDelay = 5 * time.Second
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case bytes.Contains(out, []byte("No module named pip")):
			reason = path + " has no pip"
			continue
		case bytes.Contains(out, []byte("No space left on device")):
			return fmt.Errorf("%w: pip could not download %s to %s; make room there or set LAPIDARY_HOME", hub.ErrNoSpace, spec, dir)
		}
		return fmt.Errorf("pip could not download %s: %s", spec, pipReason(out, err))
	}
	return fmt.Errorf("a Python with pip is needed to download %s (%s); install it, or name one with LAPIDARY_PYTHON", spec, reason)
}

// pipReason is the last line in which pip names an error.
func pipReason(out []byte, err error) string {
	reason := err.Error()
	for line := range strings.Lines(string(out)) {
		if msg, ok := strings.CutPrefix(strings.TrimSpace(line), "ERROR: "); ok {
			reason = msg
		}
	}
	return reason
}

// watch reports the bytes below dir while pip writes there.
func watch(dir string, at func(int64)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				at(largest(dir))
			}
		}
	}()
	return func() { close(quit); <-done }
}

func largest(dir string) (most int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if fi, err := d.Info(); err == nil {
				most = max(most, fi.Size())
			}
		}
		return nil // files come and go meanwhile
	})
	return most
}

// maxGrowth bounds what a wheel may claim to unpack to.
const maxGrowth = 200

// unpackWheel writes a wheel's files below dir, each checked against the
// wheel's own RECORD, and returns its metadata. Format: the packaging
// specification "Binary distribution format".
func unpackWheel(ctx context.Context, wheel, dir string) (about string, err error) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer z.Close()
	sums, err := checkWheel(wheel, z)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	for _, e := range z.File {
		if e.FileInfo().IsDir() {
			continue
		}
		text, err := unpackEntry(ctx, e, dir, sums)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", filepath.Base(wheel), e.Name, err)
		}
		if text != "" {
			about = text
		}
	}
	return about, nil
}

// checkWheel refuses names and sizes that no honest wheel has, and reads RECORD.
func checkWheel(wheel string, z *zip.ReadCloser) (sums map[string]string, err error) {
	fi, err := os.Stat(wheel)
	if err != nil {
		return nil, err
	}
	var total uint64
	for _, e := range z.File {
		name := filepath.FromSlash(strings.TrimSuffix(e.Name, "/"))
		if !filepath.IsLocal(name) || strings.ContainsAny(e.Name, "\\:\x00") || !e.FileInfo().IsDir() && !e.Mode().IsRegular() {
			return nil, fmt.Errorf("%q is no ordinary file of a wheel", e.Name)
		}
		total += min(e.UncompressedSize64, 1<<50)
		if len(z.File) > 100_000 || total > uint64(fi.Size())*maxGrowth {
			return nil, fmt.Errorf("claims to unpack to over %d times its size", maxGrowth)
		}
		if strings.HasSuffix(e.Name, ".dist-info/RECORD") && strings.Count(e.Name, "/") == 1 {
			if sums, err = readRecord(e); err != nil {
				return nil, err
			}
		}
	}
	if sums == nil {
		return nil, errors.New("it has no RECORD, so it is no wheel")
	}
	return sums, nil
}

// readRecord reads lines of name, sha256=base64, size.
func readRecord(e *zip.File) (map[string]string, error) {
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c := csv.NewReader(io.LimitReader(r, 64<<20))
	c.FieldsPerRecord = 3
	rows, err := c.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("RECORD: %w", err)
	}
	sums := map[string]string{}
	for _, row := range rows {
		sums[row[0]], _ = strings.CutPrefix(row[1], "sha256=")
	}
	return sums, nil
}

// unpackEntry writes one file; of METADATA it returns the text. Signatures and
// RECORD itself are the only files that RECORD gives no checksum for.
func unpackEntry(ctx context.Context, e *zip.File, dir string, sums map[string]string) (about string, err error) {
	to := filepath.Join(dir, filepath.FromSlash(e.Name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", err
	}
	r, err := e.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	var text bytes.Buffer
	out := []io.Writer{w, h}
	if strings.HasSuffix(e.Name, ".dist-info/METADATA") && e.UncompressedSize64 < 1<<20 {
		out = append(out, &text)
	}
	_, err = io.CopyBuffer(io.MultiWriter(out...), &reader{ctx: ctx, r: r}, make([]byte, 1<<20))
	if err = errors.Join(err, w.Close()); err != nil {
		return "", err
	}
	unsigned := []string{"RECORD", "RECORD.jws", "RECORD.p7s"}
	if sum := base64.RawURLEncoding.EncodeToString(h.Sum(nil)); sum != sums[e.Name] && !slices.Contains(unsigned, filepath.Base(to)) {
		return "", fmt.Errorf("%w: RECORD says %q", hub.ErrChecksum, sums[e.Name])
	}
	return text.String(), nil
}
