// Package terminal is the conversation that `lapidary run` is without a prompt.
//
// # Parts
//
// [Run] reads an input (an editor, or the terminal's own lines where TERM=dumb),
// carries out a slash command or has the model answer, and shows the answer
// while it comes. A viewer turns the answer so far into lines, and a screen
// paints those that still change: the block of Markdown, or the line, that
// grows. Whatever is complete is written once and left to the terminal, so
// scrolling, selecting and copying work as ever. The program takes over the
// keyboard for as long as it runs: what is typed while an answer is written is
// neither shown nor lost, but waits for the next prompt.
//
// # Models that complete text
//
// A base model doesn't answer, it goes on with a text. So each input is how a
// new text begins, with nothing of the one before it, and /more goes on with
// the text so far, as it is or with more words put after it. There is no system
// text, and what the model writes is shown as it is.
//
// # Pictures, sounds, videos
//
// A file is shown to the model when it is attached, so what it cannot take is
// said before the question is typed, and once: later prompts, an answer anew
// and a message that was taken back have the same soft tokens, which the
// model's session finds in its cache. A message is kept as it was typed, with
// its marks (<image>), and what was attached beside it. Attachments leave the
// user's hand only with a message that was answered. A saved conversation says
// where the files are and what they were; to load it has the model look again.
// A recording is in no file, so a conversation with one is not saved.
//
// # Thoughts
//
// What a model thinks before it answers is shown faint, or as a word while it
// lasts (/set thoughts off), and belongs to no message: the model never sees it
// again and no file keeps it.
//
// # Nothing is cut silently
//
// A conversation that doesn't fit into the model's context isn't sent, and one
// that fills nine tenths of it is remarked upon. A message
// that isn't sent stands at the prompt again. Which messages to give up is the
// user's choice (/undo, /clear).
//
// # Files
//
// In the home folder, all readable by the user only: history, one JSON string a
// line, and sessions/NAME.json, one JSON object:
//
//	format    "lapidary session"
//	version   2; a reader refuses later ones and unknown fields
//	kind      "chat", or "text" from a model that completes
//	model     as the user named it
//	saved     RFC 3339
//	settings  name to value, both text, as /set takes them
//	messages  user and assistant in turns, as in OpenAI's API; of a text, the
//	          pieces that were typed and completed, to be read in one
//	attached  what went with messages, in order: the index of the message, the
//	          type, the absolute path, and the SHA-256 of the file at that time
//
// A session is written beside its place and renamed, so it is there whole or
// not at all; one that is wrong anywhere is refused with its reason.
//
// # What comes from elsewhere
//
// A model, a template, a session or a paste may hold anything, so control
// characters are taken out before they reach the terminal: an escape sequence
// could retitle the window, fill the clipboard or type for the user.
//
// # Why so little of it is borrowed
//
// Every start of the program pays for what this package imports, a run without
// a conversation included. Keys are decoded by ultraviolet and Markdown is
// parsed by goldmark, 1 ms and 0.6 MB together. glamour with its highlighter
// would add 12 ms and 6.5 MB; bubbles' text area brings a clipboard package
// that looks for eight programs in the PATH at every start; reeflective's
// readline loses keys that arrive together with the terminal's report of its
// cursor, and without that report draws wrongly on the last row; bubbletea
// leaves old frames behind when an inline program's terminal is resized.
//
// # Caveats
//
// When a terminal gets narrower while something is painted, where the cursor
// ended up is worked out, not asked for: right for terminals that break lines
// anew (all but xterm and the Linux console, which are known by name).
//
// A line that has scrolled off the top can't be painted again. Of a paragraph
// taller than the terminal, emphasis that is closed after its start has gone
// stays unformatted there. A table taller than the terminal is shown by its
// last rows until it is complete, since each row may change the columns.
package terminal
