// Package chat turns conversations into prompts.
//
// A model that was tuned to chat was trained on turns written out in one
// certain way. That way travels with the checkpoint as a chat template, a
// program in the Jinja language, and for Gemma's families it is built in here
// too. [Open] finds out which to use, and [Template.Prompt] gives the prompt's
// tokens. A base model has no template ([ErrNoTemplate]): it completes text
// ([Plain]).
//
// # Whose template
//
// A built-in template is data and a few lines of Go: quick, and safe by its
// make. It is used where the checkpoint's own template writes the same: when a
// checkpoint is opened both render a dozen conversations, with and without an
// invitation to answer, that have in them everything the family has a form for
// (turns, system text, media, tools, thoughts). One difference, and the
// checkpoint's own is used. [Template.Family] tells which it is.
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
// template that looks for a control token inside a message doesn't find it;
// only thoughts that were left in an assistant's text are still taken out.
// The same holds for everything else that comes from outside: names,
// descriptions and schemas of tools, arguments, results.
//
// Built-in templates don't need that: what they write is pieces, and a piece
// is either markup or text.
//
// # Media
//
// A model sees, hears and watches through vectors that stand in place of soft
// tokens. A [Part] says how many it takes, the template writes them as the
// family does (between tokens that open and close, a video's frames with their
// times), and [Placed] says where they are. [Place] puts media into a text
// that a user typed.
//
// # Answers
//
// Gemma 4 thinks in a channel of its own and calls tools. [Parser] takes an
// answer apart while it is generated.
//
// # System text
//
// Gemma 3's template writes the system text before the first user message,
// with a blank line between. The templates of Gemma 1 and 2 refuse a system
// message; for them the same is done here. Gemma 4 has a turn for it.
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
