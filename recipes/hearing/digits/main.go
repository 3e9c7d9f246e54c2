// Digits makes data files of recordings named DIGIT_SPEAKER_NUMBER.wav, as those
// of the Free Spoken Digit Dataset are: one speaker is the test, the others are
// for training.
//
//	go run ./recipes/hearing/digits --recordings fsdd/recordings --speaker george --out data/digits
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	o := options{}
	flags := flag.NewFlagSet("digits", flag.ContinueOnError)
	flags.StringVar(&o.recordings, "recordings", "", "the folder with the recordings")
	flags.StringVar(&o.speaker, "speaker", "", "the speaker who is only heard in the test")
	flags.StringVar(&o.out, "out", "", "the folder to write train.jsonl and test.jsonl to")
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2) //nolint:forbidigo // this is main; flags has said why
	}
	if o.recordings == "" || o.speaker == "" || o.out == "" || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "digits: want --recordings FOLDER --speaker NAME --out FOLDER and nothing else")
		os.Exit(2) //nolint:forbidigo // this is main
	}
	if err := o.write(); err != nil {
		fmt.Fprintln(os.Stderr, "digits:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

type options struct{ recordings, speaker, out string }

// recording is a line of a data file. Speaker is for people.
type recording struct {
	Audio   string `json:"audio"`
	Answer  string `json:"answer"`
	Speaker string `json:"speaker"`
}

func (o options) write() error {
	train, test, speakers, err := o.list()
	switch {
	case err != nil:
		return err
	case len(test) == 0:
		return fmt.Errorf("there is no speaker %q in %s: the names are %s", o.speaker, o.recordings, strings.Join(speakers, ", "))
	case len(train) == 0:
		return fmt.Errorf("all recordings in %s are of %s: others are needed for training", o.recordings, o.speaker)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	return errors.Join(put(filepath.Join(o.out, "train.jsonl"), train), put(filepath.Join(o.out, "test.jsonl"), test))
}

// list finds the recordings, sorted by name.
func (o options) list() (train, test []recording, speakers []string, err error) {
	folder, err := filepath.Abs(o.recordings)
	if err != nil {
		return nil, nil, nil, err
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range files {
		r, ok := named(f.Name())
		if !ok {
			continue
		}
		r.Audio = filepath.Join(folder, f.Name())
		if !slices.Contains(speakers, r.Speaker) {
			speakers = append(speakers, r.Speaker)
		}
		if r.Speaker == o.speaker {
			test = append(test, r)
		} else {
			train = append(train, r)
		}
	}
	slices.Sort(speakers)
	return train, test, speakers, nil
}

// named reads what a file's name says.
func named(name string) (r recording, ok bool) {
	base, isWave := strings.CutSuffix(name, ".wav")
	parts := strings.Split(base, "_")
	if !isWave || len(parts) != 3 || len(parts[0]) != 1 || parts[0] < "0" || parts[0] > "9" {
		return r, false
	}
	return recording{Answer: parts[0], Speaker: parts[1]}, true
}

func put(name string, lines []recording) error {
	var b strings.Builder
	out := json.NewEncoder(&b)
	for _, l := range lines {
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	return os.WriteFile(name, []byte(b.String()), 0o600)
}
