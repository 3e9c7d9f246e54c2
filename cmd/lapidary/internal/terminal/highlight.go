package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// syntax is what a highlighter has to know of a language: enough to tell
// comments, strings, numbers and keywords apart, and no more. Full lexers
// (chroma) would add 4 ms and 2.7 MB to every start of the program.
type syntax struct {
	comment  []string  // begin a comment that ends with its line
	block    [2]string // enclose a comment
	quotes   string    // characters that enclose a string on one line
	long     []string  // enclose a string over several lines
	keywords string    // each between spaces
	fold     bool      // keywords in any case
}

// syntaxOf finds the language of a code block by the word after its fence.
// There is no table of them, because a table would be built at every start.
func syntaxOf(language string) *syntax {
	switch strings.ToLower(language) {
	case "go", "golang":
		return &syntax{comment: []string{"//"}, block: [2]string{"/*", "*/"}, quotes: `"'`, long: []string{"`"},
			keywords: " break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var nil true false "}
	case "python", "py", "python3":
		return &syntax{comment: []string{"#"}, quotes: `"'`, long: []string{`"""`, "'''"},
			keywords: " and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield None True False self "}
	case "js", "javascript", "jsx", "ts", "typescript", "tsx":
		return &syntax{comment: []string{"//"}, block: [2]string{"/*", "*/"}, quotes: `"'`, long: []string{"`"},
			keywords: " abstract any as async await boolean break case catch class const continue declare default delete do else enum export extends finally for from function get if implements import in instanceof interface let new number of private protected public readonly return set static string super switch this throw try type typeof var void while yield null undefined true false "}
	case "c", "h", "cpp", "c++", "cc", "hpp", "cuda", "objc":
		return &syntax{comment: []string{"//"}, block: [2]string{"/*", "*/"}, quotes: `"'`,
			keywords: " #define #else #endif #if #ifdef #ifndef #include #pragma auto bool break case catch char class const constexpr continue default delete do double else enum extern float for friend if inline int long namespace new noexcept operator override private protected public return short signed sizeof static struct switch template this throw try typedef typename union unsigned using virtual void volatile while nullptr NULL true false "}
	case "java", "kotlin", "kt", "scala", "csharp", "cs", "c#", "swift", "dart":
		return &syntax{comment: []string{"//"}, block: [2]string{"/*", "*/"}, quotes: `"'`, long: []string{`"""`},
			keywords: " abstract as async await boolean bool break byte case catch char class const continue data default def defer do double else enum extends extension final finally float for foreach fun func guard if implements import in init instanceof int interface internal is let long namespace new object open operator out override package private protected protocol public record return sealed self short static string struct super switch this throw throws trait try typealias using val var virtual void when while null nil true false "}
	case "rust", "rs":
		return &syntax{comment: []string{"//"}, block: [2]string{"/*", "*/"}, quotes: `"`,
			keywords: " as async await break const continue crate dyn else enum extern fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait type unsafe use where while true false None Some Ok Err "}
	case "sh", "bash", "zsh", "shell", "console", "dockerfile", "make", "makefile":
		return &syntax{comment: []string{"#"}, quotes: `"'`,
			keywords: " case cd do done echo elif else esac exit export fi for function if in local read return set shift source then trap unset until while FROM RUN COPY CMD ENV WORKDIR EXPOSE ENTRYPOINT "}
	case "sql", "postgresql", "mysql", "sqlite":
		return &syntax{comment: []string{"--"}, block: [2]string{"/*", "*/"}, quotes: `'"`, fold: true,
			keywords: " add all alter and as asc begin between by case check column commit constraint create cross default delete desc distinct drop else end exists foreign from full group having if in index inner insert into is join key left like limit not null offset on or order outer primary references right rollback select set table then transaction union unique update values view when where with "}
	case "ruby", "rb", "elixir", "lua", "perl", "r":
		return &syntax{comment: []string{"#", "--"}, quotes: `"'`,
			keywords: " alias and begin break case class def defmodule do each else elsif end ensure false fn for function if in local module my next nil not or raise repeat require rescue return self sub super then true undef unless until use when while yield NULL TRUE FALSE "}
	case "php":
		return &syntax{comment: []string{"//", "#"}, block: [2]string{"/*", "*/"}, quotes: `"'`,
			keywords: " abstract array as break case catch class const continue default do echo else elseif extends final finally fn for foreach function global if implements interface match namespace new null private protected public return static switch this throw trait try use var while true false "}
	case "json", "jsonc":
		return &syntax{comment: []string{"//"}, quotes: `"`, keywords: " true false null "}
	case "yaml", "yml", "toml", "ini":
		return &syntax{comment: []string{"#"}, quotes: `"'`, keywords: " true false null yes no "}
	}
	return nil
}

var (
	commentStyle = style{}.with(dim)
	stringStyle  = style{}.in(green)
	numberStyle  = style{}.in(cyan)
	keywordStyle = style{}.in(magenta)
)

// highlight colours the lines of a code block.
func highlight(language string, lines []string) []line {
	syn := syntaxOf(language)
	diff := strings.EqualFold(language, "diff") || strings.EqualFold(language, "patch")
	out := make([]line, len(lines))
	until := "" // the delimiter that ends a comment or string of several lines
	for i, l := range lines {
		switch {
		case syn != nil:
			out[i], until = syn.highlight(l, until)
		case diff:
			out[i] = line{{l, diffStyle(l)}}
		default:
			out[i] = text(l)
		}
	}
	return out
}

func diffStyle(l string) style {
	switch {
	case strings.HasPrefix(l, "+"):
		return style{}.in(green)
	case strings.HasPrefix(l, "-"):
		return style{}.in(red)
	case strings.HasPrefix(l, "@@"):
		return style{}.in(cyan)
	}
	return style{}
}

// highlight colours one line that begins inside whatever until ends, and tells
// what it leaves open.
func (x *syntax) highlight(s, until string) (out line, open string) {
	add := func(n int, st style) {
		if k := len(out); k > 0 && out[k-1].style == st {
			out[k-1].text += s[:n]
		} else if n > 0 {
			out = append(out, span{s[:n], st})
		}
		s = s[n:]
	}
	for s != "" || until != "" {
		if until != "" {
			n, closed := past(s, until)
			add(n, x.styleOf(until))
			if !closed {
				return out, until
			}
			until = ""
			continue
		}
		n, st, opens := x.next(s)
		until = opens
		add(n, st)
	}
	return out, ""
}

func (x *syntax) styleOf(delimiter string) style {
	if delimiter == x.block[1] {
		return commentStyle
	}
	return stringStyle
}

// past is the length of s up to and with the delimiter.
func past(s, delimiter string) (n int, found bool) {
	if i := strings.Index(s, delimiter); i >= 0 {
		return i + len(delimiter), true
	}
	return len(s), false
}

// next takes one piece from the start of s, which isn't empty: its length,
// its style, and what it opens that may end on a later line.
func (x *syntax) next(s string) (n int, st style, opens string) {
	for _, c := range x.comment {
		if strings.HasPrefix(s, c) {
			return len(s), commentStyle, ""
		}
	}
	if b := x.block; b[0] != "" && strings.HasPrefix(s, b[0]) {
		return len(b[0]), commentStyle, b[1]
	}
	for _, l := range x.long {
		if strings.HasPrefix(s, l) {
			return len(l), stringStyle, l
		}
	}
	if strings.IndexByte(x.quotes, s[0]) >= 0 {
		return quoted(s), stringStyle, ""
	}
	word := leadingWord(s)
	switch {
	case word == "":
		_, size := utf8.DecodeRuneInString(s)
		return size, style{}, ""
	case word[0] >= '0' && word[0] <= '9':
		return len(word), numberStyle, ""
	case x.keyword(word):
		return len(word), keywordStyle, ""
	}
	return len(word), style{}, ""
}

func (x *syntax) keyword(word string) bool {
	if x.fold {
		word = strings.ToLower(word)
	}
	return strings.Contains(x.keywords, " "+word+" ")
}

// quoted is the length of the string that s begins with; one that isn't closed
// ends with the line.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return len(s)
}

func leadingWord(s string) string {
	for i, r := range s {
		if r == '_' || r == '#' && i == 0 || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' && i > 0 && s[0] >= '0' && s[0] <= '9' {
			continue
		}
		return s[:i]
	}
	return s
}
