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

func (t talker) Thinks() bool {
	template, err := t.Template()
	return err == nil && template.Thinks()
}

func (t talker) Parser(prompt lapidary.Prompt) terminal.Parser { return t.Model.Parser(prompt) }

func (t talker) Generate(ctx context.Context, prompt lapidary.Prompt, p lapidary.Params) iter.Seq2[lapidary.Token, error] {
	if template, err := t.Template(); err == nil {
		p.StopTokens = slices.Concat(p.StopTokens, template.StopTokens(t.Tokenizer()))
	}
	return t.session.GeneratePrompt(ctx, prompt, p)
}
