package terminal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	uv "github.com/charmbracelet/ultraviolet"

	"lapidary"
	"lapidary/chat"
)

// attachment is a picture, a sound or a video of a message. What the model saw
// or heard is found out once, when it is attached, and stands in every prompt
// from then on.
type attachment struct {
	kind string // [chat.Image], [chat.Audio] or [chat.Video]
	path string // absolute; empty for a recording
	sum  string // SHA-256 of the file, in hexadecimal
	seen *lapidary.Attachment
}

func (a *attachment) name() string {
	if a.path == "" {
		return "the recording"
	}
	return filepath.Base(a.path)
}

// tokens is how many the attachment takes in a prompt, but for those that open
// and close it.
func (a *attachment) tokens() int {
	n := 0
	for _, p := range a.seen.Parts {
		for _, t := range p.Tokens {
			n += t
		}
	}
	return n
}

// names tells attachments apart in one line.
func names(attached []*attachment) string {
	var all []string
	for _, a := range attached {
		all = append(all, a.name())
	}
	return strings.Join(all, ", ")
}

// message is a turn as the user knows it: what was typed, with its marks, and
// what was attached.
type message struct {
	chat.Message // its text is Content
	attached     []*attachment
}

// parts puts the attachments into the text, where it has marks for them and
// before it otherwise.
func (m *message) parts() ([]chat.Part, []*lapidary.Attachment, error) {
	media := make([]chat.Part, len(m.attached))
	for i, a := range m.attached {
		media[i] = chat.Part{Type: a.kind, Tokens: []int{i + 1}} // which one it is
	}
	placed, err := chat.Place(m.Content, media...)
	if err != nil {
		return nil, nil, err
	}
	var parts []chat.Part
	var seen []*lapidary.Attachment
	for _, p := range placed {
		if p.Type == chat.Text {
			parts = append(parts, p)
			continue
		}
		a := m.attached[p.Tokens[0]-1].seen
		parts, seen = append(parts, a.Parts...), append(seen, a)
	}
	return parts, seen, nil
}

func (c *chatter) cmdImage(ctx context.Context, files string) error {
	return c.attach(ctx, chat.Image, files)
}

func (c *chatter) cmdAudio(ctx context.Context, files string) error {
	return c.attach(ctx, chat.Audio, files)
}

func (c *chatter) cmdVideo(ctx context.Context, files string) error {
	return c.attach(ctx, chat.Video, files)
}

// attach has the model look at files, which go with the next message.
func (c *chatter) attach(ctx context.Context, kind, args string) error {
	files, err := paths(args)
	switch {
	case err != nil:
		return err
	case len(files) == 0:
		return fmt.Errorf("/%s FILE: a file is missing", kind)
	}
	before := len(c.pending)
	for _, f := range files {
		var a *attachment
		if a, err = c.look(ctx, kind, f); err != nil {
			break
		}
		c.pending = append(c.pending, a)
	}
	if len(c.pending) > before {
		c.notePending()
	}
	return c.stopped(ctx, err, "stopped; it isn't attached")
}

// look has the model see or hear a file.
func (c *chatter) look(ctx context.Context, kind, path string) (*attachment, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	a := &attachment{kind: kind, path: path}
	verb := "looking at "
	if kind == chat.Audio {
		verb = "listening to "
	}
	err = c.busy(ctx, func() string { return verb + a.name() }, c.in.hold, func(ctx context.Context) (err error) {
		if a.seen, err = c.model.Attach(ctx, lapidary.Media{Type: kind, Path: path}); err == nil {
			a.sum, err = checksum(path)
		}
		return err
	})
	return a, err
}

// checksum tells later whether a file is still the same.
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stopped turns the error of what Ctrl-C ended into a remark.
func (c *chatter) stopped(ctx context.Context, err error, remark string) error {
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		c.note("%s", remark)
		return nil
	}
	return err
}

// How long /record listens at most.
const longest = 30 * time.Second

func (c *chatter) cmdRecord(ctx context.Context, _ string) error {
	began, ended := time.Now(), false
	status := func() string {
		if t := time.Since(began); !ended && t < longest {
			return fmt.Sprintf("recording, %d of %.0f s; Enter ends it", int(t.Seconds()), longest.Seconds())
		}
		return "listening to it"
	}
	ends := func(ev uv.Event) bool {
		k, key := ev.(uv.KeyPressEvent)
		if key && (k.Keystroke() == "enter" || k.Keystroke() == "kpenter") || c.in.hold(ev) {
			ended = true
		}
		return ended
	}
	if c.tty.dumb {
		c.note("recording; Ctrl-C ends it, as do %.0f s", longest.Seconds())
	}
	a := &attachment{kind: chat.Audio}
	err := c.busy(ctx, status, ends, func(ctx context.Context) (err error) {
		a.seen, err = c.model.Listen(ctx, longest)
		return err
	})
	if err != nil {
		return c.stopped(ctx, err, "stopped; nothing is attached")
	}
	if a.tokens() == 0 {
		return errors.New("nothing was heard")
	}
	c.pending = append(c.pending, a)
	c.notePending()
	return nil
}

// busy does what takes a while, and shows what that is. It is cancelled by an
// event that ends it.
func (c *chatter) busy(ctx context.Context, status func() string, ends func(uv.Event) bool, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	show := waiting{screen: c.tty.screen(), since: time.Now()}
	tick := time.NewTicker(repaint)
	defer tick.Stop()
	keys := c.in.events()
	for {
		select {
		case ev, more := <-keys:
			switch {
			case !more:
				keys = nil // the terminal is gone
				cancel()
			case ends(ev):
				cancel()
			}
		case <-tick.C:
			if show.label = status(); !c.tty.dumb {
				_ = show.update() // a terminal that is gone ends the input as well
			}
		case err := <-done:
			if !c.tty.dumb {
				_ = show.end()
			}
			return err
		}
	}
}

// notePending tells what goes with the next message.
func (c *chatter) notePending() {
	var all []string
	sound := false
	for _, a := range c.pending {
		all = append(all, fmt.Sprintf("%s (%d tokens)", a.name(), a.tokens()))
		sound = sound || a.kind == chat.Audio
	}
	verb, more := "goes", ""
	if len(all) > 1 {
		verb = "go"
	}
	if sound {
		more = "; Enter alone sends it without words"
	}
	c.note("%s %s with your next message%s.", strings.Join(all, ", "), verb, more)
}

// speaks reports whether what is attached can be a message without words.
func (c *chatter) speaks() bool {
	for _, a := range c.pending {
		if a.kind == chat.Audio {
			return true
		}
	}
	return false
}

func (c *chatter) cmdForget(context.Context, string) error {
	if len(c.pending) == 0 {
		return errors.New("nothing is attached to the next message")
	}
	c.note("forgot %s", names(c.pending))
	c.pending = nil
	return nil
}

func (c *chatter) cmdThink(ctx context.Context, value string) error {
	return c.cmdSet(ctx, strings.TrimSpace("think "+value))
}
