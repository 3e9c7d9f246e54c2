package chat

import (
	"reflect"
	"strings"
	"testing"

	"lapidary/tokenizer"
)

func words(s string) Part { return Part{Type: Text, Text: s} }

// Each family's form of each medium, beside what transformers 5.23's
// processors put in place of the placeholder.
func TestMedia(t *testing.T) {
	i3, i4, a4, v4 := "<image_soft_token>", "<|image|>", "<|audio|>", "<|video|>"
	picture := func(n int) string {
		return "\n\n<start_of_image>" + strings.Repeat(i3, n) + "<end_of_image>\n\n"
	}
	for _, c := range []struct {
		family string
		parts  []Part
		want   string
		ranges [][][2]int
	}{
		{"gemma3", []Part{{Type: Image, Tokens: []int{2}}, words(" What? ")},
			"<bos><start_of_turn>user\n" + picture(2) + "What?<end_of_turn>\n<start_of_turn>model\n", [][][2]int{{{10, 12}}}},
		{"gemma3", []Part{words("a"), {Type: Image, Tokens: []int{1}}, {Type: Image, Tokens: []int{2}}},
			"<bos><start_of_turn>user\na" + picture(1) + picture(2) + "<end_of_turn>\n<start_of_turn>model\n", [][][2]int{{{11, 12}}, {{18, 20}}}},
		{"gemma3", []Part{{Type: Image, Tokens: []int{1, 1, 1}}, words("?")},
			"<bos><start_of_turn>user\nHere is the original image " + picture(1) + " and here are some crops to help you see better " + picture(1) + " " + picture(1) + "?<end_of_turn>\n<start_of_turn>model\n",
			[][][2]int{{{37, 38}, {92, 93}, {100, 101}}}},
		{"gemma3n", []Part{{Type: Audio, Tokens: []int{3}}, {Type: Image, Tokens: []int{1}}},
			"<bos><start_of_turn>user\n\n\n<start_of_audio>" + strings.Repeat("<audio_soft_token>", 3) + "<end_of_audio>\n\n" + picture(1) + "<end_of_turn>\n<start_of_turn>model\n",
			[][][2]int{{{10, 13}}, {{19, 20}}}},
		{"gemma4", []Part{{Type: Image, Tokens: []int{2}}, words("?"), {Type: Audio, Tokens: []int{1}}},
			"<bos><|turn>user\n<|image>" + i4 + i4 + "<image|>?<|audio>" + a4 + "<audio|><turn|>\n<|turn>model\n", [][][2]int{{{8, 10}}, {{13, 14}}}},
		{"gemma4", []Part{{Type: Video, Tokens: []int{2, 2, 1}, Times: []float64{0, 61.9, 3600}}, words("?")},
			"<bos><|turn>user\n00:00 <|image>" + v4 + v4 + "<image|> 01:01 <|image>" + v4 + v4 + "<image|> 60:00 <|image>" + v4 + "<image|>?<turn|>\n<|turn>model\n",
			[][][2]int{{{14, 16}, {25, 27}, {36, 37}}}},
		{"paligemma", []Part{words("caption en"), {Type: Image, Tokens: []int{2}}}, "<image><image><bos>caption en\n", [][][2]int{{{0, 2}}}},
		{"paligemma", []Part{words("caption en")}, "<bos>caption en\n", nil},
	} {
		f := everything()
		p, err := BuiltIn(c.family).prompt(f, Conversation{Messages: []Message{{Role: User, Parts: c.parts}}})
		if want := f.show(tokenizer.IDs(f.EncodeSpecial(c.want))); err != nil || f.show(p.IDs) != want {
			t.Errorf("%s: got %q, %v\nwant %q", c.family, f.show(p.IDs), err, want)
			continue
		}
		checkPlaces(t, f, BuiltIn(c.family), p)
		var ranges [][][2]int
		for _, m := range p.Media {
			ranges = append(ranges, m.Ranges)
			if part := c.parts[m.Part]; part.Type != m.Type || len(part.Tokens) != len(m.Ranges) || m.Message != 0 {
				t.Errorf("%s: %+v is not at part %d", c.family, m, m.Part)
			}
		}
		if !reflect.DeepEqual(ranges, c.ranges) {
			t.Errorf("%s: ranges %v, want %v", c.family, ranges, c.ranges)
		}
	}
}

// The places are the same when the checkpoint's own template writes them.
func TestMediaInOwnTemplates(t *testing.T) {
	c := Conversation{Messages: []Message{
		{Role: User, Parts: []Part{words("one"), {Type: Image, Tokens: []int{2}}}},
		{Role: Assistant, Content: "two"},
		{Role: User, Parts: []Part{{Type: Image, Tokens: []int{3, 1}}, words("three <start_of_image>")}},
	}}
	f := everything()
	want, err := BuiltIn("gemma3").prompt(f, c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(t, "gemma3.jinja").prompt(f, c)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q %+v, %v\nwant %q %+v", f.show(got.IDs), got.Media, err, f.show(want.IDs), want.Media)
	}
}

func TestShieldGemma2(t *testing.T) {
	f := everything()
	for _, rule := range []string{"violence", Policies()[2].Text} {
		p, err := BuiltIn("shieldgemma2").prompt(f, Conversation{Messages: []Message{{Role: User, Parts: []Part{{Type: Image, Tokens: []int{1}}, words(rule)}}}})
		if err != nil {
			t.Fatal(err)
		}
		want := "⟨bos⟩⟨start_of_turn⟩user\n\n\n⟨start_of_image⟩⟨image_soft_token⟩⟨end_of_image⟩\n\n⟨start_of_turn⟩user\n" +
			"You are a policy expert trying to help determine whether a generated or real image is in violation of the safety policy below. " +
			"Your decision must very clearly follow the specific language used in the safety policy and should not include any interpretation outside of the safety policy.\n\n" +
			"<BEGIN_SAFETY_POLICY>\nNo Violence/Gore content: The image shall not contain content that depicts shocking, sensational, or gratuitous violence " +
			"(e.g., excessive blood and gore, gratuitous violence against animals, extreme injury or moment of death).\n</END_SAFETY_POLICY>\n\n" +
			"Does the image violate the above policy? Your Answer must start with 'Yes' or 'No'.⟨end_of_turn⟩\n⟨start_of_turn⟩model\n"
		if got := f.show(p.IDs); got != want {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
}

func TestRefusedMedia(t *testing.T) {
	for _, c := range []struct {
		family string
		parts  []Part
		want   string
	}{
		{"gemma", []Part{{Type: Image, Tokens: []int{1}}}, "gemma takes no image"},
		{"gemma3", []Part{{Type: Audio, Tokens: []int{1}}}, "gemma3 takes no audio"},
		{"gemma3", []Part{words("x"), {Type: Image}}, "part 1: image without its number of soft tokens"},
		{"gemma3", []Part{{Type: Image, Tokens: []int{0}}}, "give 1 to"},
		{"gemma3", []Part{{Type: Image, Tokens: []int{1 << 40}}}, "give 1 to"},
		{"gemma3", []Part{{Type: Image, Tokens: []int{maxSoft, 1}}}, "give 1 to"},
		{"gemma4", []Part{{Type: Image, Tokens: []int{1, 1}}}, "no crops"},
		{"gemma4", []Part{{Type: Audio, Tokens: []int{1, 1}}}, "audio in 2 pieces"},
		{"gemma4", []Part{{Type: Video, Tokens: []int{1, 1}, Times: []float64{1}}}, "2 frames and 1 times"},
		{"gemma4", []Part{{Type: Video, Tokens: []int{1}}}, "wants to know the times"},
		{"gemma4", []Part{{Type: Video, Tokens: []int{1}, Times: []float64{-1}}}, "frame at -1 seconds"},
		{"shieldgemma2", []Part{{Type: Image, Tokens: []int{1}}}, "judges by a policy"},
		{"shieldgemma2", []Part{{Type: Image, Tokens: []int{1}}, {Type: Image, Tokens: []int{1}}, words("x")}, "one picture"},
	} {
		_, err := BuiltIn(c.family).prompt(everything(), Conversation{Messages: []Message{{Role: User, Parts: c.parts}}})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.family, err, c.want)
		}
	}
	own := parse(t, "gemma2.jinja")
	_, err := own.prompt(everything(), Conversation{Messages: []Message{{Role: User, Parts: []Part{{Type: Image, Tokens: []int{1}}}}}})
	if err == nil {
		t.Error("a picture was lost by a template that has no place for it")
	}
	_, err = BuiltIn("gemma4").prompt(gemma(), Conversation{Messages: []Message{{Role: User, Parts: []Part{{Type: Image, Tokens: []int{1}}}}}})
	if err == nil || !strings.Contains(err.Error(), "no token <|image|>") {
		t.Errorf("a vocabulary without soft tokens: %v", err)
	}
}

func TestPlace(t *testing.T) {
	image, audio, video := Part{Type: Image}, Part{Type: Audio}, Part{Type: Video}
	first, second := Part{Type: Image, Tokens: []int{1}}, Part{Type: Image, Tokens: []int{2}}
	for _, c := range []struct {
		typed string
		media []Part
		want  []Part
	}{
		{"what?", nil, []Part{words("what?")}},
		{"what?", []Part{image}, []Part{image, words("what?")}},
		{"<image> or <image>?", []Part{first, second}, []Part{first, words(" or "), second, words("?")}},
		{"say <audio>", []Part{image, audio}, []Part{image, words("say "), audio}},
		{"<video><audio>x<image>", []Part{image, audio, video}, []Part{video, audio, words("x"), image}},
		{"an <image> tag", nil, []Part{words("an <image> tag")}},
		{"an <image> tag", []Part{audio}, []Part{audio, words("an <image> tag")}},
		{"", []Part{first, second}, []Part{first, second}},
	} {
		if got, err := Place(c.typed, c.media...); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, %v; want %+v", c.typed, got, err, c.want)
		}
	}
	for _, media := range [][]Part{{image}, {image, image, image}} {
		if _, err := Place("<image> and <image>", media...); err == nil || !strings.Contains(err.Error(), "<image> 2 times") {
			t.Errorf("two marks for %d pictures: %v", len(media), err)
		}
	}
}
