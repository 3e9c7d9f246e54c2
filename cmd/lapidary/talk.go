package main

import (
	"context"
	"iter"
	"os/signal"
	"slices"
	"syscall"

	"lapidary"
	"lapidary/cmd/lapidary/internal/terminal"
	"lapidary/hub"
)

// talk is run without a prompt: a conversation in the terminal. There Ctrl-C
// ends an answer and not the program, so only SIGTERM cancels it.
func talk(ctx context.Context, m *lapidary.Model, o terminal.Options) error {
	store, err := hub.Default()
	if err != nil {
		return err
	}
	o.Home = store.Root()
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
	defer stop()
	s := m.NewSession()
	defer s.Close()
	return terminal.Run(ctx, talker{m, s}, o)
}

// talker is a model with what was said so far in its memory.
type talker struct {
	*lapidary.Model
	session *lapidary.Session
}

func (t talker) Chats() bool {
	_, err := t.Template()
	return err == nil
}

func (t talker) Prompt(messages []lapidary.Message) ([]int32, error) { return t.ChatTokens(messages) }

func (t talker) Text(text string) ([]int32, error) { return t.Encode(text), nil }

func (t talker) Generate(ctx context.Context, prompt []int32, p lapidary.Params) iter.Seq2[lapidary.Token, error] {
	if template, err := t.Template(); err == nil {
		p.StopTokens = slices.Concat(p.StopTokens, template.StopTokens(t.Tokenizer()))
	}
	return t.session.Generate(ctx, prompt, p)
}
