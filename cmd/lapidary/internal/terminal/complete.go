package terminal

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"lapidary/chat"
)

// choice is what a word could become.
type choice struct {
	text  string // in place of the word
	help  string
	shown string // instead of text, where that is long
	opens bool   // more of the same word follows
}

func (c choice) hint() string {
	if c.shown != "" {
		return c.shown
	}
	return strings.TrimRight(fmt.Sprintf("%-14s %s", c.text, c.help), " ")
}

// More choices than this would push what is typed off a small screen.
const maxHints = 16

// completions offers what the last word of the line may become: commands,
// settings, conversations, files.
func (c *chatter) completions(line string) (word string, out []choice) {
	word = line[strings.LastIndexByte(line, ' ')+1:]
	name, args, more := strings.Cut(line, " ")
	switch {
	case !strings.HasPrefix(line, "/"):
	case !more:
		for _, e := range commandList() {
			out = append(out, choice{text: "/" + e.names[0], help: e.help})
		}
	case name == "/set":
		for _, s := range settingList() {
			out = append(out, choice{text: s.name, help: s.help})
		}
	case name == "/load", name == "/save":
		for _, s := range c.store.names() {
			out = append(out, choice{text: s})
		}
	case name == "/show":
		out = []choice{{text: "settings"}, {text: "messages"}}
	case name == "/think":
		out = []choice{{text: "on"}, {text: "off"}}
	case name == "/"+chat.Image, name == "/"+chat.Audio, name == "/"+chat.Video:
		return fileChoices(name[1:], args)
	}
	return word, out
}

// completion completes the word before the cursor as far as it is certain,
// and shows what it could become.
func (e *editor) completion() {
	word, all := e.complete(e.before())
	var fits []choice
	for _, c := range all {
		if strings.HasPrefix(c.text, word) {
			fits = append(fits, c)
		}
	}
	switch len(fits) {
	case 0:
		return
	case 1:
		end := " "
		if fits[0].opens {
			end = ""
		}
		e.insert(fits[0].text[len(word):] + end)
		return
	}
	if common := commonStart(fits); len(common) > len(word) {
		e.insert(common[len(word):])
		return
	}
	for _, f := range fits[:min(len(fits), maxHints)] {
		e.hints = append(e.hints, f.hint())
	}
	if n := len(fits) - maxHints; n > 0 {
		e.hints = append(e.hints, fmt.Sprintf("and %d more", n))
	}
}

// commonStart is how all choices begin: in whole characters, and not with a
// backslash without what it stands before.
func commonStart(choices []choice) string {
	common := choices[0].text
	for _, c := range choices[1:] {
		n := 0
		for n < min(len(common), len(c.text)) && common[n] == c.text[n] {
			n++
		}
		for n < len(common) && n > 0 && !utf8.RuneStart(common[n]) {
			n--
		}
		common = common[:n]
	}
	if escapes && (len(common)-len(strings.TrimRight(common, `\`)))%2 == 1 {
		common = common[:len(common)-1]
	}
	return common
}
