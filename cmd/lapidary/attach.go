package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lapidary"
	"lapidary/chat"
)

// attachments are the media of a prompt, in the order of their flags.
type attachments struct {
	media      []lapidary.Media
	panAndScan bool
	softTokens int
}

func (a *attachments) register(fs *pflag.FlagSet) {
	for _, kind := range []struct{ name, about string }{
		{chat.Image, "a picture (JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, HEIC); several if given several times"},
		{chat.Audio, "a sound (WAV, FLAC, MP3, Ogg Vorbis or Opus)"},
		{chat.Video, "a video, with its sound"},
	} {
		fs.Var(&mediaFlag{a, kind.name}, kind.name, kind.about)
	}
	fs.BoolVar(&a.panAndScan, "pan-and-scan", false, "show the parts of long pictures too (Gemma 3)")
	fs.IntVar(&a.softTokens, "image-tokens", 0, "soft tokens of a picture or frame: 70, 140, 280, 560 or 1120 (Gemma 4; default as the model has it)")
}

// mediaFlag adds a file of one type.
type mediaFlag struct {
	to       *attachments
	typeName string
}

func (f *mediaFlag) String() string { return "" }
func (f *mediaFlag) Type() string   { return "FILE" }

func (f *mediaFlag) Set(path string) error {
	if path == "" {
		return fmt.Errorf("a file is missing")
	}
	f.to.media = append(f.to.media, lapidary.Media{Type: f.typeName, Path: path})
	return nil
}

// attach has the model see and hear the media, and puts them into the prompt.
func (a *attachments) attach(ctx context.Context, m *lapidary.Model, prompt string) ([]chat.Part, []*lapidary.Attachment, error) {
	typed := make([]chat.Part, len(a.media))
	for i, media := range a.media {
		typed[i] = chat.Part{Type: media.Type, Tokens: []int{i + 1}} // which one it is
	}
	placed, err := chat.Place(prompt, typed...)
	if err != nil {
		return nil, nil, misuse("%w", err)
	}
	var parts []chat.Part
	var attached []*lapidary.Attachment
	for _, part := range placed {
		if part.Type == chat.Text {
			parts = append(parts, part)
			continue
		}
		media := a.media[part.Tokens[0]-1]
		media.PanAndScan, media.SoftTokens = a.panAndScan && media.Type == chat.Image, a.softTokens
		seen, err := m.Attach(ctx, media)
		if err != nil {
			return nil, nil, err
		}
		parts, attached = append(parts, seen.Parts...), append(attached, seen)
	}
	if len(placed) == 0 {
		parts = []chat.Part{{Type: chat.Text}}
	}
	return parts, attached, nil
}

// verdictJSON is the document of run --json for a model that judges.
type verdictJSON struct {
	Model        string  `json:"model"`
	PromptTokens []int32 `json:"prompt_tokens"`
	Violates     bool    `json:"violates"`
	Probability  float32 `json:"probability"` // that the policy is violated
	Logits       struct {
		Yes float32 `json:"yes"`
		No  float32 `json:"no"`
	} `json:"logits"`
}

// judge prints a verdict.
func (f *runFlags) judge(c *cobra.Command, m *lapidary.Model, a *answer) error {
	v, err := m.Verdict(c.Context(), a.prompt)
	if err != nil {
		return interruption(c.Context(), err)
	}
	if f.json {
		d := verdictJSON{Model: m.Name(), PromptTokens: a.read(), Violates: v.Violates(), Probability: v.Probability}
		d.Logits.Yes, d.Logits.No = v.Yes, v.No
		return printJSON(c.OutOrStdout(), d)
	}
	word := "no violation"
	if v.Violates() {
		word = "violation"
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s (violated with probability %.3f)\n", word, v.Probability)
	return err
}
