package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lapidary/chat"
)

// The format of session files. A file of a later version is refused, never
// half understood.
const (
	sessionFormat  = "lapidary session"
	sessionVersion = 2 // 1 had nothing attached
)

// A session file longer than this is refused: it would be a context of many
// million tokens.
const maxSession = 64 << 20

// session is a conversation as /save writes it: JSON, one object.
type session struct {
	Format   string            `json:"format"`
	Version  int               `json:"version"`
	Kind     string            `json:"kind"` // "chat", or "text" with a model that completes
	Model    string            `json:"model"`
	Saved    time.Time         `json:"saved"`
	Settings map[string]string `json:"settings"` // as /set takes them
	Messages []chat.Message    `json:"messages"`
	Attached []attachedFile    `json:"attached,omitempty"` // in the order of messages and places
}

// attachedFile is what was attached to a message.
type attachedFile struct {
	Message int    `json:"message"` // of Messages
	Type    string `json:"type"`    // image, audio or video
	Path    string `json:"path"`    // absolute
	SHA256  string `json:"sha256"`  // of the file, in hexadecimal
}

// keep takes messages over. A recording is nowhere but in memory, and a
// conversation without it would not be the same.
func (x *session) keep(messages []message) error {
	for i, m := range messages {
		x.Messages = append(x.Messages, m.Message)
		for _, a := range m.attached {
			if a.path == "" {
				return fmt.Errorf("message %d has a recording, which is in no file: /undo it, or attach sound files with /audio", i/2+1)
			}
			x.Attached = append(x.Attached, attachedFile{i, a.kind, a.path, a.sum})
		}
	}
	return nil
}

const (
	kindChat = "chat"
	kindText = "text"
)

// store keeps sessions as files NAME.json in a folder.
type store struct{ dir string }

func (s store) path(name string) string { return filepath.Join(s.dir, name+".json") }

// checkName keeps names to what is a file name everywhere and no path.
func checkName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	bad := func(r rune) bool { return !strings.ContainsRune(allowed, r) }
	switch {
	case name == "" || len(name) > 64:
		return errors.New("a session name has 1 to 64 characters")
	case name[0] == '.' || name[0] == '-' || strings.ContainsFunc(name, bad):
		return fmt.Errorf("session name %q: use letters, digits, and - _ . inside", name)
	}
	return nil
}

// save writes the session beside its place and then renames it there, so that
// neither a crash nor a full disk leaves half of one.
func (s store) save(name string, x session) (replaced bool, err error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return false, err
	}
	data, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		return false, err
	}
	_, err = os.Stat(s.path(name))
	replaced = err == nil
	return replaced, replaceFile(s.path(name), append(data, '\n'))
}

// replaceFile writes a file, readable by the user only, in one step.
func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // created 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (s store) load(name string) (session, error) {
	if err := checkName(name); err != nil {
		return session{}, err
	}
	f, err := os.Open(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return session{}, fmt.Errorf("no session %q%s: /load lists them", name, suggestion(name, s.names(), ""))
	}
	if err != nil {
		return session{}, err
	}
	defer f.Close()
	x, err := readSession(f)
	if err != nil {
		return session{}, fmt.Errorf("session %s (%s): %w", name, s.path(name), err)
	}
	return x, nil
}

// names are the sessions there are, sorted.
func (s store) names() []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if ok && checkName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// readSession reads and checks a session file. Nothing of a file that is
// wrong anywhere is used.
func readSession(r io.Reader) (session, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSession+1))
	if err != nil {
		return session{}, err
	}
	if len(data) > maxSession {
		return session{}, fmt.Errorf("longer than %d MB: not a session this program wrote", maxSession>>20)
	}
	var head struct {
		Format  string
		Version int
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return session{}, fmt.Errorf("damaged: %w: remove it, or mend it with an editor", err)
	}
	switch {
	case head.Format != sessionFormat:
		return session{}, fmt.Errorf("not a session file: its format is %q", head.Format)
	case head.Version > sessionVersion:
		return session{}, fmt.Errorf("of version %d, and this program reads up to %d: use a newer lapidary", head.Version, sessionVersion)
	case head.Version < 1:
		return session{}, fmt.Errorf("damaged: version %d", head.Version)
	}
	var x session
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&x); err != nil {
		return session{}, fmt.Errorf("damaged: %w: remove it, or mend it with an editor", err)
	}
	return x, x.check()
}

// check refuses conversations that /save could not have written.
func (x *session) check() error {
	if x.Kind != kindChat && x.Kind != kindText {
		return fmt.Errorf("damaged: kind %q is neither chat nor text", x.Kind)
	}
	for i, m := range x.Messages {
		want := chat.User
		if i%2 == 1 {
			want = chat.Assistant
		}
		if m.Role != want {
			return fmt.Errorf("damaged: message %d is of %q, not of %q", i, m.Role, want)
		}
	}
	if len(x.Messages)%2 != 0 {
		return fmt.Errorf("damaged: the last of %d messages has no answer", len(x.Messages))
	}
	return x.checkAttached()
}

func (x *session) checkAttached() error {
	for i, m := range x.Messages {
		for _, p := range m.Parts {
			if p.Type != chat.Text {
				return fmt.Errorf("damaged: message %d has a part of type %q: what is attached stands in a list of its own", i, p.Type)
			}
		}
	}
	for i, f := range x.Attached {
		_, known := endings[f.Type]
		switch {
		case f.Message < 0 || f.Message >= len(x.Messages) || f.Message%2 == 1:
			return fmt.Errorf("damaged: attachment %d is to message %d, which is no user's", i, f.Message)
		case !known || !filepath.IsAbs(f.Path):
			return fmt.Errorf("damaged: attachment %d is the %q of path %q", i, f.Type, f.Path)
		}
	}
	return nil
}
