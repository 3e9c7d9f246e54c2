package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// told writes events on a line.
func told(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		switch e.Kind {
		case Called:
			fmt.Fprintf(&b, "[call %s %s(%s)]", e.Call.ID, e.Call.Name, e.Call.Arguments)
		case Thought:
			fmt.Fprintf(&b, "[thought %q]", e.Text)
		default:
			fmt.Fprintf(&b, "%q", e.Text)
		}
	}
	return b.String()
}

// joined puts events together that were cut only because they came so.
func joined(events []Event) []Event {
	var out []Event
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Kind == events[0].Kind && events[0].Kind != Called {
			n++
		}
		e := events[0]
		var b strings.Builder
		for _, part := range events[:n] {
			b.WriteString(part.Text)
		}
		e.Text = b.String()
		out, events = append(out, e), events[n:]
	}
	return out
}

// byToken parses an answer token by token, the way a generator gives it.
func byToken(tmpl *Template, f fake, answer string, inThought bool) []Event {
	p := tmpl.parser(inThought)
	p.vocabulary = f
	var out []Event
	for _, t := range f.EncodeSpecial(answer) {
		released := answer[t.From:t.To]
		if f.Control(t.ID) {
			released = ""
		}
		out = append(out, p.Token(t.ID, released)...)
	}
	return joined(append(out, p.Close()...))
}

// byText parses it from text that is cut every n bytes.
func byText(tmpl *Template, answer string, n int, inThought bool) []Event {
	s := tmpl.NewSpelled(inThought)
	var out []Event
	for at := 0; at < len(answer); at += n {
		out = append(out, s.Write(answer[at:min(at+n, len(answer))])...)
	}
	return joined(append(out, s.Close()...))
}

func TestAnswersAreTakenApart(t *testing.T) {
	for answer, want := range map[string]string{
		"Hello.<turn|>": `"Hello."`,
		"<|channel>thought\nsum\nup\n<channel|>4": `[thought "sum\nup"]"4"`,
		"<|channel>thought\n<channel|>4":          `"4"`,
		"<|channel>thought<channel|>4":            `"4"`,
		"<|channel>thought\n\n\n<channel|>4":      `[thought "\n"]"4"`,
		"<|channel>final\n4<channel|>5":           `[thought "final\n4"]"5"`,
		"<|channel>thou":                          `[thought "thou"]`,
		"<|channel>thought\nand then\n":           `[thought "and then\n"]`,
		"<|tool_call>call:f{}<tool_call|>":        `[call call_0 f({})]`,
		`<|tool_call>call:f{a:<|"|>x}, y<|"|>,b:[1,-2.5e3,true,null],c:{d:<|"|><|"|>}}<tool_call|><|tool_response>`: `[call call_0 f({"a":"x}, y","b":[1,-2.5e3,true,null],"c":{"d":""}})]`,
		`Let me see.<|tool_call>call:f{a:1}<tool_call|><|tool_call>call:g{}<tool_call|>`:                            `"Let me see."[call call_0 f({"a":1})][call call_1 g({})]`,
		`<|tool_call> call: f { "a b" : "x\ny" , <|"|>c<|"|>: plain words } <tool_call|>`:                           `[call call_0 f({"a b":"x\ny","c":"plain words"})]`,
		"<|tool_call>call:f{a:1":                                    `"call:f{a:1"`,
		"<|tool_call>call:f{a:}<tool_call|>.":                       `"call:f{a:}."`,
		"<|tool_call>call:f{a:1}}<tool_call|>":                      `"call:f{a:1}}"`,
		"<|tool_call>f{a:1}<tool_call|>":                            `"f{a:1}"`,
		`<|tool_call>call:f{a:<|"|>x}<tool_call|>`:                  `"call:f{a:<|\"|>x}"`,
		"<|tool_call>call:f{<turn|>":                                `"call:f{"`,
		"<|channel>thought\nhm\n<|tool_call>call:f{}<tool_call|>ok": `[thought "hm\n"][call call_0 f({})]"ok"`,
		`a <|"|>word<|"|>, <channel|>b<turn|>`:                      `"a <|\"|>word<|\"|>, b"`,
		"":                                                          "",
		"if a < b":                                                  `"if a < b"`,
		"<|chan":                                                    `"<|chan"`,
	} {
		tmpl := BuiltIn("gemma4")
		if got := told(byToken(tmpl, everything(), answer, false)); got != want {
			t.Errorf("%s\n got %s\nwant %s", answer, got, want)
		}
		for n := 1; n < 9; n++ {
			if got := told(byText(tmpl, answer, n, false)); got != want {
				t.Errorf("%s, cut every %d bytes\n got %s\nwant %s", answer, n, got, want)
			}
		}
	}
}

func TestAnswersThatBeginInAThought(t *testing.T) {
	const answer = "so 4\n<channel|>4"
	if got, want := told(byToken(BuiltIn("gemma4"), everything(), answer, true)), `[thought "so 4"]"4"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	const all = "so <|channel>4\n<channel|>4"
	if got, want := told(byText(BuiltIn("gemma3"), all, 3, true)), fmt.Sprintf("%q", all); got != want {
		t.Errorf("a model without thoughts: got %s, want %s", got, want)
	}
}

// What an answer spells with ordinary tokens is no markup.
func TestAnswersThatSpellMarkers(t *testing.T) {
	p := BuiltIn("gemma4").parser(false)
	p.vocabulary = everything()
	got := told(append(p.Token('x', "<|tool_call>call:f{}<tool_call|>"), p.Close()...))
	if want := `"<|tool_call>call:f{}<tool_call|>"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHostileCalls(t *testing.T) {
	deep := strings.Repeat("[", 1<<20)
	for name, call := range map[string]string{
		"deep": "call:f{a:" + deep[:1000], "too long": "call:f{a:" + deep, "quotes": "call:f{" + strings.Repeat(quoteMark, 1001),
	} {
		answer := "<|tool_call>" + call + "<tool_call|>"
		events := byText(BuiltIn("gemma4"), answer, 1<<16, false)
		if len(events) != 1 || events[0].Kind != Answered || events[0].Text != call {
			t.Errorf("%s: %d events, want the call as text", name, len(events))
		}
	}
}

// A prompt's own calls read back are what was called.
func TestCallsRoundTrip(t *testing.T) {
	for _, c := range goldens(t, "gemma4.json", 18) {
		for _, m := range c.Messages {
			for _, call := range m.ToolCalls {
				w := &writer{}
				if err := (&speech{writer: w}).call(call); err != nil {
					t.Fatal(err)
				}
				events := byToken(BuiltIn("gemma4"), everything(), spelled(w.pieces), false)
				if len(events) != 1 || events[0].Kind != Called || events[0].Call.Name != call.Name {
					t.Fatalf("%s: %s", c.Name, told(events))
				}
				if got, want := canonical(t, events[0].Call.Arguments), canonical(t, call.Arguments); got != want {
					t.Errorf("%s: got %s, want %s", c.Name, got, want)
				}
			}
		}
	}
}

func canonical(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	v, err := object(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// However an answer is cut, the same comes out, and no text is lost: all of it
// comes in order, but for channels' names and the newlines around thoughts.
func FuzzAnswers(f *testing.F) {
	f.Add("\x00thought\nhm\n\x01ok", uint8(3), false)
	f.Add("\x02call:f{a:\x04x\x04}\x03", uint8(1), true)
	f.Add("\x02call:f{\x00\x01\x04<|\x02call:g{}\x03", uint8(2), false)
	f.Fuzz(func(t *testing.T, script string, size uint8, inThought bool) {
		var answer, text strings.Builder
		channels := 0
		for _, r := range script {
			if int(r) < len(markers) {
				answer.WriteString(markers[r])
				if markers[r] == "<|channel>" {
					channels++
				}
				continue
			}
			if r == '<' {
				r = '(' // what text spells is another test's
			}
			answer.WriteRune(r)
			text.WriteRune(r)
		}
		tmpl := BuiltIn("gemma4")
		whole := byText(tmpl, answer.String(), 1+answer.Len(), inThought)
		if got, want := told(byText(tmpl, answer.String(), 1+int(size), inThought)), told(whole); got != want {
			t.Fatalf("cut every %d bytes\n got %s\nwant %s", 1+int(size), got, want)
		}
		var got strings.Builder
		for _, e := range whole {
			got.WriteString(strings.ReplaceAll(e.Text, quoteMark, ""))
			if e.Kind == Called && !json.Valid(e.Call.Arguments) {
				t.Fatalf("arguments %q", e.Call.Arguments)
			}
		}
		if missing := missingFrom(got.String(), text.String()); missing < 0 || missing > len(thoughtHeader)*channels+channels+1 {
			t.Fatalf("%d bytes lost of %q: %s", missing, answer.String(), told(whole))
		}
	})
}

// missingFrom is how many bytes of the text are not in got, -1 if got has
// others or another order.
func missingFrom(got, text string) int {
	missing := 0
	for i := range len(text) {
		if got != "" && got[0] == text[i] {
			got = got[1:]
		} else {
			missing++
		}
	}
	if got != "" {
		return -1
	}
	return missing
}
