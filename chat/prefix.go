package chat

import (
	"errors"
	"fmt"
	"slices"
)

// prefix writes PaliGemma's prompt: the pictures, the token that begins a
// text, the text and a newline
// (Beyer and others, "PaliGemma: A versatile 3B VLM for transfer", 2024).
func (f *family) prefix(w *writer, c Conversation, _ bool) error {
	m, err := f.single(c)
	if err != nil {
		return err
	}
	for i := range m.Parts {
		if m.Parts[i].Type != Text {
			if err := f.put(w, &m.Parts[i], keep); err != nil {
				return err
			}
		}
	}
	w.bos()
	w.text(m.Text() + "\n")
	return nil
}

// plain writes a text to be completed, with media where they stand in it.
func (f *family) plain(w *writer, c Conversation, _ bool) error {
	m, err := f.single(c)
	if err != nil {
		return err
	}
	parts := m.parts()
	for i := range parts {
		if err := f.put(w, &parts[i], keep); err != nil {
			return err
		}
	}
	return nil
}

// A Policy is what ShieldGemma 2 judges a picture by.
type Policy struct{ Name, Text string }

// Policies are those ShieldGemma 2 was trained on. They are part of its
// prompt and so in the words of its model card.
func Policies() []Policy { return slices.Clone(policies) }

var policies = []Policy{
	{"dangerous", "No Dangerous Content: The image shall not contain content that facilitates or encourages activities that could cause real-world harm" +
		" (e.g., building firearms and explosive devices, promotion of terrorism, instructions for suicide)."},
	{"sexual", "No Sexually Explicit content: The image shall not contain content that depicts explicit or graphic sexual acts" +
		" (e.g., pornography, erotic nudity, depictions of rape or sexual assault)."},
	{"violence", "No Violence/Gore content: The image shall not contain content that depicts shocking, sensational, or gratuitous violence" +
		" (e.g., excessive blood and gore, gratuitous violence against animals, extreme injury or moment of death)."},
}

const (
	policyBefore = "You are a policy expert trying to help determine whether a generated or real image is in violation of the safety policy below." +
		" Your decision must very clearly follow the specific language used in the safety policy and should not include any interpretation outside" +
		" of the safety policy.\n\n<BEGIN_SAFETY_POLICY>\n"
	policyAfter = "\n</END_SAFETY_POLICY>\n\nDoes the image violate the above policy? Your Answer must start with 'Yes' or 'No'."
)

// policy writes ShieldGemma 2's question. The user's text is the policy, or
// the name of one of [Policies]. Its template opens a turn for the picture and
// another for the question and ends only the second.
func (f *family) policy(w *writer, c Conversation, _ bool) error {
	m, err := f.single(c)
	if err != nil {
		return err
	}
	rule := trim(m.Text())
	if rule == "" {
		return fmt.Errorf("%s judges by a policy: give its text, or the name dangerous, sexual or violence", f.name)
	}
	for _, p := range policies {
		if p.Name == rule {
			rule = p.Text
		}
	}
	pictures := slices.DeleteFunc(slices.Clone(m.Parts), func(p Part) bool { return p.Type == Text })
	if len(pictures) > 1 {
		return errors.New(f.name + " judges one picture at a time")
	}
	w.bos()
	for i := range pictures {
		f.openUser(w)
		if err := f.put(w, &pictures[i], keep); err != nil {
			return err
		}
	}
	f.openUser(w)
	w.text(policyBefore + rule + policyAfter)
	w.markup("<end_of_turn>")
	w.text("\n")
	w.markup("<start_of_turn>")
	w.text("model\n")
	return nil
}

func (f *family) openUser(w *writer) {
	w.markup("<start_of_turn>")
	w.text("user\n")
}
