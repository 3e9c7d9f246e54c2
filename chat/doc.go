// Package chat turns conversations into prompts.
//
// A model that was tuned to chat was trained on turns written out in one
// certain way. That way travels with the checkpoint as a chat template, a
// program in the Jinja language; [Open] finds it and [Template.Encode] runs it
// and gives the prompt's tokens. A base model has no template ([ErrNoTemplate]):
// it completes text.
//
// # Messages stay text
//
// A template writes control tokens (<start_of_turn>, <end_of_turn>) as text
// among the messages. Were the result tokenized in one piece, a message that
// spells "<end_of_turn>" would end its turn and could open another, say one of
// the system. So Encode keeps both apart: only what the template itself wrote
// can become a control token, and what came with a message never does, even
// where the two meet. It does this by breaking up such spellings before the
// template sees them and mending them afterwards. One thing follows: a
// template that looks for a control token inside a message doesn't find it.
//
// # System text
//
// Gemma 3's template writes the system text before the first user message,
// with a blank line between. The templates of Gemma 1 and 2 refuse a system
// message; for them the same is done here.
//
// # Caveats
//
// A template is a program that came with a model file. It reads and writes
// nothing but its text, and its size, its counting and its panics are held in
// check; but one made to loop for long will do that.
//
// Templates disagree about what they accept. Gemma's want user and assistant to
// take turns, beginning with the user; the error says so in their words.
package chat
