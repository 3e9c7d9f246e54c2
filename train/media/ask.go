package media

import (
	"context"
	"strings"

	"lapidary"
	"lapidary/chat"
)

// asker puts examples to an open model.
type asker struct {
	model *lapidary.Model
	files archives
}

// prompt is an example without its answer.
func (a *asker) prompt(ctx context.Context, e Example) (lapidary.Prompt, error) {
	var parts []chat.Part
	var attached []*lapidary.Attachment
	for _, medium := range []struct{ kind, path string }{{chat.Image, e.Image}, {chat.Audio, e.Audio}} {
		if medium.path == "" {
			continue
		}
		data, err := a.files.read(medium.path, mostRead)
		if err != nil {
			return lapidary.Prompt{}, err
		}
		seen, err := a.model.Attach(ctx, lapidary.Media{Type: medium.kind, Data: data})
		if err != nil {
			return lapidary.Prompt{}, err
		}
		parts, attached = append(parts, seen.Parts...), append(attached, seen)
	}
	if e.Prompt != "" {
		parts = append(parts, chat.Part{Type: chat.Text, Text: e.Prompt})
	}
	return a.model.PromptText(parts, attached...)
}

// ask is the model's answer to an example.
func (a *asker) ask(ctx context.Context, e Example) (string, error) {
	prompt, err := a.prompt(ctx, e)
	if err != nil {
		return "", err
	}
	var answer strings.Builder
	for token, err := range a.model.GeneratePrompt(ctx, prompt, lapidary.Params{TopP: 1, RepeatPenalty: 1, MaxTokens: longestAnswer}) {
		if err != nil {
			return "", err
		}
		answer.WriteString(token.Text)
	}
	return answer.String(), nil
}
