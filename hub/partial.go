package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// digest is a promised checksum: "sha256:…" or, for the small files of a
// Hugging Face repository, "git-sha1:…" (SHA-1 over git's blob header and the
// content). The zero value promises nothing.
type digest struct{ algorithm, hex string }

func sha256Digest(hex string) digest {
	if hex == "" {
		return digest{}
	}
	return digest{"sha256", strings.ToLower(hex)}
}

func (d digest) String() string {
	if d.hex == "" {
		return ""
	}
	return d.algorithm + ":" + d.hex
}

// hash starts the checksum of a file of size bytes.
func (d digest) hash(size int64) hash.Hash {
	if d.algorithm == "git-sha1" {
		h := sha1.New()
		fmt.Fprintf(h, "blob %d\x00", size)
		return h
	}
	return sha256.New()
}

// partialState lies beside an unfinished file and says whose it is, so that a
// later pull goes on with it only when it would fetch the same bytes.
type partialState struct {
	From      string  `json:"from"`                // the source that the bytes came from
	Digest    string  `json:"digest,omitempty"`    // what the whole must come to
	Validator string  `json:"validator,omitempty"` // HTTP entity tag or date, for If-Range
	Parts     []int64 `json:"parts,omitempty"`     // lengths of the joined slices that are whole
}

// partial is a file on its way. Bytes land in it in order.
type partial struct {
	path      string
	stateAt   string // "" when the file name itself says whose it is
	file      *os.File
	size      int64 // bytes here
	want      int64 // bytes of the whole; -1 when not known yet
	state     partialState
	report    func(int64)
	resumed   bool // bytes of an earlier pull were used
	sizeKnown func(int64)
	// fetched is how far progress got before the bytes landed here: a wheel
	// is downloaded first and read after.
	fetched int64
}

func (p *partial) tell() { p.report(max(p.size, p.fetched)) }

// openPartial goes on with what an earlier pull of the same file left, or
// starts afresh.
func openPartial(path string, it item, from string) (*partial, error) {
	p := &partial{path: path, want: it.size, report: func(int64) {}, sizeKnown: func(int64) {}}
	p.state = partialState{From: from, Digest: it.digest.String()}
	if !it.addressed {
		p.stateAt = path + ".json"
	}
	old, ok := readState(p.stateAt)
	usable := it.addressed || ok && (old.From == from || old.Digest != "" && old.Digest == p.state.Digest)
	var err error
	if p.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, err
	}
	if p.size, err = p.file.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	if usable && ok {
		p.state.Validator, p.state.Parts = old.Validator, old.Parts
		if old.From != from {
			p.state.Validator, p.state.Parts = "", nil
		}
	}
	if !usable || it.size >= 0 && p.size > it.size {
		err = p.truncate(0)
	}
	p.resumed = p.size > 0
	return p, errors.Join(err, p.save())
}

func readState(path string) (partialState, bool) {
	var st partialState
	if path == "" {
		return st, false
	}
	b, err := readSmall(path, maxManifest)
	return st, err == nil && json.Unmarshal(b, &st) == nil
}

func (p *partial) save() error {
	if p.stateAt == "" {
		return nil
	}
	return writeJSON(p.stateAt, p.state)
}

func (p *partial) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.size += int64(n)
	p.tell()
	if err != nil {
		err = &permanent{err} // no use in asking the server again
	}
	return n, err
}

// truncate drops all but the first n bytes.
func (p *partial) truncate(n int64) error {
	if err := p.file.Truncate(n); err != nil {
		return err
	}
	if n == 0 {
		p.state.Validator, p.state.Parts = "", nil
	}
	p.size, p.fetched = n, 0
	p.tell()
	_, err := p.file.Seek(n, io.SeekStart)
	return err
}

// expect notes the size of the whole, as a source tells it, and checks that
// there is room for what is missing.
func (p *partial) expect(whole int64) error {
	if p.want >= 0 && whole != p.want {
		return fmt.Errorf("the source offers %d bytes where %d were promised", whole, p.want)
	}
	if p.want < 0 {
		p.want = whole
		p.sizeKnown(whole)
		return needSpace(filepath.Dir(p.path), whole-p.size)
	}
	return nil
}

// verify checks the whole and returns its SHA-256 ("" when another kind of
// checksum was promised). It reads the file back, so what is checked is what
// the disk holds; at 1 to 2 GB/s that is small beside any download.
func (p *partial) verify(ctx context.Context, want digest) (string, error) {
	if p.want >= 0 && p.size != p.want {
		return "", fmt.Errorf("%w: %d bytes where %d were promised", ErrChecksum, p.size, p.want)
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := want.hash(p.size)
	if _, err := io.Copy(h, &ctxReader{ctx, p.file}); err != nil {
		return "", err
	}
	got := hex.EncodeToString(h.Sum(nil))
	if want.hex != "" && got != want.hex {
		return "", fmt.Errorf("%w: %s is %s, promised was %s", ErrChecksum, want.algorithm, got, want.hex)
	}
	if want.hex == "" || want.algorithm == "sha256" {
		return got, nil
	}
	return "", nil
}

// commit gives the whole file its name.
func (p *partial) commit(dest string) error {
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		return err
	}
	if err := os.Rename(p.path, dest); err != nil {
		return err
	}
	p.forgetState()
	return syncDir(filepath.Dir(dest))
}

func (p *partial) close() { _ = p.file.Close() }

// discard leaves nothing behind.
func (p *partial) discard() {
	p.close()
	_ = os.Remove(p.path)
	p.forgetState()
}

func (p *partial) forgetState() {
	if p.stateAt != "" {
		_ = os.Remove(p.stateAt)
	}
}

// roomAdvice ends the messages of full disks.
const roomAdvice = "make room there, or keep models on a larger disk: LAPIDARY_HOME, and HF_HOME for those of Hugging Face"

// needSpace fails when dir has no room for n more bytes. A margin of 16 MiB
// keeps the system's own files going.
func needSpace(dir string, n int64) error {
	free := freeSpace(dir)
	if free < 0 || n <= 0 || free >= n+16<<20 {
		return nil
	}
	return fmt.Errorf("%w: %s needs %s more and has %s free; "+roomAdvice,
		ErrNoSpace, dir, HumanSize(n), HumanSize(free))
}

// HumanSize writes a byte count as people read it, in powers of ten.
func HumanSize(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1000, 0
	for f >= 999.95 && u < len(units)-1 {
		f, u = f/1000, u+1
	}
	return fmt.Sprintf("%.1f %cB", f, units[u])
}

// ctxReader stops reading when ctx ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// isMissing is fs.ErrNotExist without the noise.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
