package terminal

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"lapidary/chat"
)

// word is a piece of what follows a command, as shells divide it.
type word struct {
	from  int    // in bytes, where it begins as it was typed
	text  string // without quotes and backslashes
	quote rune   // that is still open, or 0
}

// On Windows a backslash stands between folders.
const escapes = runtime.GOOS != "windows"

// words divides a text at spaces that are neither quoted nor escaped. What
// ends in a space has an empty last word, which is about to be typed.
func words(s string) []word {
	out := []word{{}}
	escaped := false
	for i, r := range s {
		w := &out[len(out)-1]
		switch {
		case escaped:
			w.text += string(r)
			escaped = false
		case r == '\\' && escapes && w.quote != '\'':
			escaped = true
		case w.quote != 0 && r == w.quote:
			w.quote = 0
		case w.quote != 0:
			w.text += string(r)
		case r == '\'' || r == '"':
			w.quote = r
		case unicode.IsSpace(r) && w.from == i:
			w.from = i + len(string(r))
		case unicode.IsSpace(r):
			out = append(out, word{from: i + len(string(r))})
		default:
			w.text += string(r)
		}
	}
	return out
}

// paths reads the files that follow a command, as people type them and as
// terminals paste a file that is dropped on them: quoted, with backslashes, as
// a file: address, or one alone just as it is, spaces and all.
func paths(args string) ([]string, error) {
	if p := expand(args); isFile(p) {
		return []string{p}, nil
	}
	var out []string
	for _, w := range words(args) {
		if w.quote != 0 {
			return nil, fmt.Errorf("%s: the quote %c is not closed", args, w.quote)
		}
		if w.text != "" {
			out = append(out, expand(fromAddress(w.text)))
		}
	}
	return out, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// fromAddress is the path of a file: address, or what was given.
func fromAddress(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "file" || (u.Host != "" && u.Host != "localhost") {
		return s
	}
	p := u.Path
	if !escapes {
		p = strings.TrimPrefix(p, "/") // of /C:/…
	}
	return filepath.FromSlash(p)
}

// expand puts the user's home folder for ~.
func expand(path string) string {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || (rest != "" && !os.IsPathSeparator(rest[0])) {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return path
	}
	return home + rest
}

// endings are those that files of each type usually have.
var endings = map[string][]string{
	chat.Image: {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"},
	chat.Audio: {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"},
	chat.Video: {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv", ".gif", ".webp"},
}

// fileChoices are the files that the last word of a command may become: those
// that look as if they were of the type, or all where none does.
func fileChoices(kind, args string) (typed string, out []choice) {
	all := words(args)
	last := all[len(all)-1]
	typed = args[last.from:]
	base := last.text[strings.LastIndexFunc(last.text, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })+1:]
	folder := expand(strings.TrimSuffix(last.text, base))
	if folder == "" {
		folder = "."
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return typed, nil
	}
	var others []choice
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || clean(name) != name || (base == "" && name[0] == '.') {
			continue
		}
		one := choice{text: typed + typedAs(name[len(base):], last.quote), shown: name}
		if info, err := os.Stat(filepath.Join(folder, name)); err == nil && info.IsDir() {
			one.text, one.shown, one.opens = one.text+"/", name+"/", true
			out = append(out, one)
			others = append(others, one)
			continue
		}
		if last.quote != 0 {
			one.text += string(last.quote)
		}
		others = append(others, one)
		if slices.Contains(endings[kind], strings.ToLower(filepath.Ext(name))) {
			out = append(out, one)
		}
	}
	if len(out) == 0 {
		out = others
	}
	return typed, out
}

// typedAs is a part of a name as it is typed within such quotes, or without.
func typedAs(name string, quote rune) string {
	special := ` '"\`
	switch {
	case !escapes:
		return name
	case quote == '\'':
		return strings.ReplaceAll(name, `'`, `'\''`)
	case quote == '"':
		special = `"\`
	}
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(special, r) || (quote == 0 && unicode.IsSpace(r)) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
