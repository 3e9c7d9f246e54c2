package chat

import "fmt"

// mustAlternate is in the words of Gemma's own templates.
const mustAlternate = "Conversation roles must alternate user/assistant/user/assistant/..."

// turns writes conversations as Gemma 1 to 3n read them. The system's text
// has no turn of its own: it stands before the first user message.
func (f *family) turns(w *writer, c Conversation, prompt bool) error {
	system, messages := c.system()
	if system != nil && (len(messages) == 0 || messages[0].Role != User) {
		return errNoUser
	}
	w.bos()
	for i := range messages {
		m := &messages[i]
		if (m.Role == User) != (i%2 == 0) {
			return fmt.Errorf("the chat template refuses this conversation: %s", mustAlternate)
		}
		w.markup("<start_of_turn>")
		w.text(turnName(m.Role) + "\n")
		if i == 0 && system != nil {
			w.text(system.Text() + "\n\n")
		}
		if err := f.content(w, m); err != nil {
			return err
		}
		w.markup("<end_of_turn>")
		w.text("\n")
	}
	if prompt {
		w.markup("<start_of_turn>")
		w.text("model\n")
	}
	return nil
}

// turnName is what a role is called in a turn's first line.
func turnName(role string) string {
	if roles[role] == Assistant {
		return Model
	}
	return roles[role]
}
