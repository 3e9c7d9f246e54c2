//go:build unix

package terminal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// files writes files of so many bytes into the home folder.
func files(t *testing.T, home string, names ...string) {
	t.Helper()
	for i, name := range names {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(strings.Repeat("x", 10+i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAttachments(t *testing.T) {
	home := t.TempDir()
	files(t, home, "cat.png", "My Dog's.png", "bark.wav", "film.mp4")
	w := open(t, home, 160, 40)
	w.say("/image ~/cat.png")
	w.see("cat.png (10 tokens) goes with your next message.")
	w.say("/show")
	w.see("attached")
	w.say("what is it?")
	w.see("1 messages, the last: [image[10]]what is it?")
	w.say("and now?") // without anything of its own
	w.see("3 messages, the last: and now?")
	w.say(`/image ~/My\ Dog\'s.png "` + home + `/cat.png"`)
	w.see("My Dog's.png (11 tokens), cat.png (10 tokens) go with your next message.")
	w.say("is <image> like <image>?")
	w.see("5 messages, the last: is [image[11]] like [image[10]]?")
	w.say("/image " + home + "/My Dog's.png") // as it is
	w.say("/audio 'file://" + home + "/bark.wav'")
	w.say("/video ~/film.mp4")
	w.say("hm?")
	w.see("the last: [image[11]][audio[12]][video[13]][audio[3]]hm?")
	w.say("report")
	w.see("looked 6 times, thinking false: [image[10]]what is it? / 1 messages, the")
	w.say("/show messages")
	w.see("[My Dog's.png, bark.wav, film.mp4]")
}

// What cannot be sent is given back, words and files.
func TestNothingAttachedIsLost(t *testing.T) {
	home := t.TempDir()
	files(t, home, "cat.png", "bark.wav")
	if err := os.WriteFile(filepath.Join(home, "slow.png"), []byte("slow"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := open(t, home, 160, 40, "DULL=1")
	w.say("/image ~/cat.png")
	w.say("/audio ~/bark.wav")
	w.see("bark.wav: this scripted model takes no sound")
	w.say("/record")
	w.see("error: this scripted model takes no sound")
	w.say("/image ~/no.png")
	w.see("no.png: no such file")
	w.say("/image 'a")
	w.see("the quote ' is not closed")
	w.say("/video")
	w.see("/video FILE: a file is missing")
	w.prompt()
	w.send("/image ~/slow.png" + enter)
	w.see("looking at slow.png")
	w.send(ctrlC)
	w.see("stopped; it isn't attached")
	w.prompt()
	w.send("<image> or <image>" + enter)
	w.see("write it once for each, or not at all")
	w.until("the message to be edited", func(lines []string) bool { return lines[len(lines)-1] == ">>> <image> or <image>" })
	w.send("\x17\x17" + enter) // takes "or <image>" away
	w.see("1 messages, the last: [image[10]]")
	w.say("/undo")
	w.see("cat.png (10 tokens) goes with your next message.")
	w.say("nothing") // which is what the model says only without a picture
	w.see("1 messages, the last: [image[10]]nothing")
	w.say("/undo")
	w.say("/forget")
	w.see("forgot cat.png")
	w.say("/forget")
	w.see("error: nothing is attached to the next message")
	w.say("alone")
	w.see("1 messages, the last: alone")
	w.say("/think on")
	w.see("error: this model has no form for thoughts")
}

func TestRetryWithAttachments(t *testing.T) {
	home := t.TempDir()
	files(t, home, "cat.png", "dog.png")
	w := open(t, home, 160, 40)
	w.say("/image ~/cat.png")
	w.say("what?")
	w.say("/image ~/dog.png") // for the next message, not for the answer anew
	w.say("/retry")
	w.until("the answer anew", func([]string) bool {
		return strings.Count(w.text(), "1 messages, the last: [image[10]]what?") == 2
	})
	w.say("/clear")
	w.see("cleared")
	w.say("that?")
	w.see("1 messages, the last: [image[11]]that?")
}

func TestRecording(t *testing.T) {
	w := open(t, t.TempDir(), 160, 40)
	w.prompt()
	w.send("/record" + enter)
	w.see("recording, 0 of 30 s; Enter ends it")
	w.send(enter)
	w.see("the recording (7 tokens) goes with your next message; Enter alone sends it without words.")
	w.prompt()
	w.send(enter)
	w.see("1 messages, the last: [audio[7]]")
	w.prompt()
	w.send("/record" + enter)
	w.see("recording, 1 of 30 s; Enter ends it")
	w.send(ctrlC)
	w.say("what did I say?")
	w.see("3 messages, the last: [audio[7]]what did I say?")
	w.say("/save talk")
	w.see("not saved: message 1 has a recording, which is in no file")
	if names := (store{filepath.Join(w.home, "sessions")}).names(); names != nil {
		t.Errorf("saved %v", names)
	}
}

func TestSaveWithAttachments(t *testing.T) {
	home := t.TempDir()
	files(t, home, "cat.png", "dog.png")
	w := open(t, home, 160, 40)
	w.say("/image ~/cat.png ~/dog.png")
	w.say("<image> or <image>?")
	w.say("/set think on")
	w.say("/save pets")
	w.see("Files that were attached are not in it")
	w.send(ctrlD)
	w.exit()

	w = open(t, home, 160, 40)
	w.say("/load pets")
	w.see("loaded pets, 2 messages")
	w.say("report")
	w.see("looked 2 times, thinking true: [image[10]] or [image[11]]? / 1 messages")
	files(t, home, "dog.png")
	w.say("/load pets")
	w.see("dog.png is not what it was when the conversation was saved.")
	w.say("report")
	w.see("looked 4 times, thinking true: [image[10]] or [image[10]]? / 1 messages")
	if err := os.Remove(filepath.Join(home, "cat.png")); err != nil {
		t.Fatal(err)
	}
	w.say("/load pets")
	w.see("error: session pets: ")
	w.see("cat.png: no such file")
	w.say("here")
	w.see("5 messages, the last: here") // what was being said goes on
	w.send(ctrlD)
	w.exit()

	w = open(t, home, 160, 40, "DULL=1")
	files(t, home, "cat.png")
	w.say("/load pets")
	w.see("loaded pets, 2 messages")
	w.say("report")
	w.see("thinking false:")
}

func TestThoughts(t *testing.T) {
	w := open(t, t.TempDir(), 100, 40)
	w.say("think")
	want := ">>> think\nThinking:\nFirst [2Jthis or this,\nthen that.\n\nSo it is.\n>>>"
	if got := w.text(); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	lines := w.lines()
	for text, want := range map[string]bool{"then that.": true, "So it is.": false} {
		if _, faint := w.cell(0, slices.Index(lines, text)); faint != want {
			t.Errorf("%q is shown faint: %v", text, faint)
		}
	}
	w.say("/stats")
	w.see("8 of 400 tokens") // the next prompt has no thoughts
	w.say("/think on")
	w.see("think is on")
	w.say("report")
	w.see("thinking true: think / So it is. / report") // without the thoughts
	w.say("/think off")
	w.say("/clear")
	w.say("/set thoughts off")
	w.say("think")
	w.until("the answer alone", func([]string) bool { return strings.Contains(w.text(), ">>> think\nSo it is.\n>>>") })
	w.prompt()
	w.send("ponder" + enter)
	w.see("thinking.")
	w.send(ctrlC)
	w.see("stopped before an answer; the message isn't kept")
	w.say("ponder briefly")
	w.see("before saying anything; the message isn't kept")
	w.say("report")
	w.see("thinking false: think / So it is. / report")
	w.say("tool")
	w.see("The model asks for a tool (weather), and there are none here.")
}

func TestThoughtsWhereNothingMoves(t *testing.T) {
	home := t.TempDir()
	files(t, home, "cat.png")
	w := open(t, home, 100, 40, "TERM=dumb")
	w.prompt()
	w.send("/image ~/cat.png" + enter)
	w.see("goes with your next message")
	w.prompt()
	w.send("/record" + enter)
	w.see("recording; Ctrl-C ends it, as do 30 s")
	w.send(ctrlC)
	w.see("the recording (7 tokens) go with your next message")
	w.prompt()
	w.send("<image> and <audio>" + enter)
	w.see("1 messages, the last: [image[10]] and [audio[7]]")
	w.prompt()
	w.send("think" + enter)
	w.see("Thinking:\nFirst [2Jthis or this,\nthen that.\n\nSo it *is*.\n>>>")
}

func TestTextWithAttachments(t *testing.T) {
	home := t.TempDir()
	files(t, home, "cat.png", "dog.png")
	w := open(t, home, 160, 40, "BASE=1")
	w.say("/image ~/cat.png")
	w.say("answer en")
	w.see(" and [[image[10]]answer en] went on")
	w.say("/image ~/dog.png")
	w.say("/more like <image>")
	w.see("went on like [image[11]]] went on")
	w.prompt()
	w.send("/more" + enter)
	w.until("more of it", func([]string) bool { return strings.Count(w.text(), "went on") >= 6 })
	w.say("alone")
	w.see(" and [alone] went on")
}

func TestCompletingFiles(t *testing.T) {
	home := t.TempDir()
	files(t, home, "pets/my cat.png", "pets/my cow.JPG", "pets/moo.wav", "pets/deep/x.png", "pets/.hidden.png")
	w := open(t, home, 100, 30)
	for _, c := range []struct{ keys, want string }{
		{"/im\t~/pe\tmy\ta\t", `/image ~/pets/my\ cat.png`},
		{"/image \"~/pets/my ca\t", `/image "~/pets/my cat.png"`},
		{"/image '~/pets/my co\t", `/image '~/pets/my cow.JPG'`},
		{"/image ~/pets/d\tx\t", "/image ~/pets/deep/x.png"},
		{"/image ~/pets/.h\t", "/image ~/pets/.hidden.png"},
		{"/audio ~/pets/mo\t", "/audio ~/pets/moo.wav"},
		{"/image ~/pets/moo.wav ~/pets/m\t", `/image ~/pets/moo.wav ~/pets/my\ c`},
		{"/image ~/none/\tx", "/image ~/none/x"},
		{"/think \tf\t", "/think off"},
	} {
		w.prompt()
		w.send(c.keys)
		w.until(c.want, func(lines []string) bool { return lines[len(lines)-1] == ">>> "+c.want })
		w.send(ctrlC)
	}
	w.prompt()
	w.send("/image ~/pets/\t")
	w.see("\nmy cow.JPG")
	if s := w.text(); strings.Contains(s, "\nmoo.wav") || strings.Contains(s, "\n.hidden") || !strings.Contains(s, "\ndeep/") {
		t.Errorf("offered:\n%s", s)
	}
}
