package terminal

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/agnivade/levenshtein"
)

// command is what a line that begins with a slash asks for.
type command struct {
	name string // "set", without the slash
	args string // what follows, trimmed
}

// parseCommand reads a slash command. A path (/etc/hosts says…) is a message,
// and so is anything that doesn't begin in the first column.
func parseCommand(input string) (command, bool) {
	rest, ok := strings.CutPrefix(input, "/")
	if !ok {
		return command{}, false
	}
	name, args := rest, ""
	if i := strings.IndexFunc(rest, unicode.IsSpace); i >= 0 {
		name, args = rest[:i], strings.TrimSpace(rest[i:])
	}
	if strings.Contains(name, "/") {
		return command{}, false
	}
	if _, err := os.Stat("/" + name); err == nil && name != "" && !slices.Contains(commandNames(), name) {
		return command{}, false
	}
	return command{strings.ToLower(name), args}, true
}

// entry is one command: how it is written, what it does, and what carries it
// out. Its error is shown and the chat goes on.
type entry struct {
	names []string // the first one is shown
	args  string
	help  string
	run   func(*chatter, context.Context, string) error
}

// commandList is a function so that nothing is built unless somebody chats.
func commandList() []entry {
	return []entry{
		{[]string{"set"}, "[NAME VALUE]", "change a setting, or list them all", (*chatter).cmdSet},
		{[]string{"show"}, "[settings|messages]", "tell about the model, the settings, or what was said", (*chatter).cmdShow},
		{[]string{"save"}, "NAME", "keep this conversation and its settings", (*chatter).cmdSave},
		{[]string{"load"}, "[NAME]", "go on with a kept conversation, or list them", (*chatter).cmdLoad},
		{[]string{"clear"}, "", "forget what was said; settings stay", (*chatter).cmdClear},
		{[]string{"image"}, "FILE…", "show the model pictures with the next message", (*chatter).cmdImage},
		{[]string{"audio"}, "FILE…", "let it hear sounds", (*chatter).cmdAudio},
		{[]string{"video"}, "FILE…", "show it videos, with their sound", (*chatter).cmdVideo},
		{[]string{"record"}, "", "let it hear the microphone, until Enter or for 30 s", (*chatter).cmdRecord},
		{[]string{"forget"}, "", "drop what would go with the next message", (*chatter).cmdForget},
		{[]string{"think"}, "on|off", "let the model think before it answers", (*chatter).cmdThink},
		{[]string{"retry"}, "", "answer the last message anew", (*chatter).cmdRetry},
		{[]string{"undo"}, "", "take back the last message and its answer", (*chatter).cmdUndo},
		{[]string{"more"}, "[TEXT]", "go on with the text (models that complete text)", (*chatter).cmdMore},
		{[]string{"stats"}, "", "tell speed, tokens and how full the context is", (*chatter).cmdStats},
		{[]string{"help", "?"}, "", "this list", (*chatter).cmdHelp},
		{[]string{"bye", "exit", "quit"}, "", "leave (Ctrl-D does too)", (*chatter).cmdBye},
	}
}

func commandNames() []string {
	var names []string
	for _, e := range commandList() {
		names = append(names, e.names...)
	}
	return names
}

func (c *chatter) run(ctx context.Context, cmd command) error {
	for _, e := range commandList() {
		if slices.Contains(e.names, cmd.name) {
			if e.args == "" && cmd.args != "" {
				return fmt.Errorf("/%s takes nothing after it", cmd.name)
			}
			return e.run(c, ctx, cmd.args)
		}
	}
	return fmt.Errorf("unknown command /%s%s: /help lists them; a space before the slash sends it as a message",
		cmd.name, suggestion(cmd.name, commandNames(), "/"))
}

// suggestion is ", did you mean X?" for the known word nearest to word, if one
// is near.
func suggestion(word string, known []string, prefix string) string {
	best, least := "", len(word)/2+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(word, k); d < least || (strings.HasPrefix(k, word) && word != "" && best == "") {
			best, least = k, min(d, least)
		}
	}
	if best == "" || least > 3 {
		return ""
	}
	return ", did you mean " + prefix + best + "?"
}
