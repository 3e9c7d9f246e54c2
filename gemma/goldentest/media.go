package goldentest

import (
	"fmt"
	"slices"

	"lapidary/gemma"
)

// pictures are a run's pictures: squares, or patches with places.
func pictures(pixels, places array) []gemma.Picture {
	if pixels.Shape == nil {
		return nil
	}
	var all []gemma.Picture
	for i := range pixels.Shape[0] {
		p := gemma.Picture{Pixels: pixels.part(i).floats()}
		if places.Shape != nil {
			at := places.part(i)
			for j := range at.Shape[0] {
				if x, y := at.row(j)[0], at.row(j)[1]; x >= 0 { // −1 is padding
					p.Places = append(p.Places, [2]int32{int32(x), int32(y)})
				}
			}
			p.Pixels = p.Pixels[:len(p.Places)*pixels.Shape[2]]
		}
		all = append(all, p)
	}
	return all
}

// clips are a run's sounds.
func clips(frames, mask array) []gemma.Sound {
	if frames.Shape == nil {
		return nil
	}
	var all []gemma.Sound
	for i := range frames.Shape[0] {
		var s gemma.Sound
		part := frames.part(i)
		for j := range part.Shape[0] {
			s.Frames = append(s.Frames, array{Shape: part.Shape[1:], Data: part.row(j)}.floats())
			if mask.Shape == nil || mask.row(i)[j] != 0 {
				s.Valid = j + 1
			}
		}
		all = append(all, s)
	}
	return all
}

// soft are the run's media where their tokens stand.
func (c *Case) soft(r golden, tokens []int32) []gemma.Soft {
	c.Helper()
	ids := c.Model.Config().Tokens
	var soft []gemma.Soft
	for _, kind := range []struct {
		id      int32
		vectors func() ([][]float32, error)
	}{
		{ids.Image, func() ([][]float32, error) {
			return c.Model.Pictures(c.Context(), pictures(r.Inputs["pixel_values"], r.Inputs["image_position_ids"]))
		}},
		{ids.Video, func() ([][]float32, error) {
			return c.Model.Pictures(c.Context(), pictures(r.Inputs["pixel_values_videos"], r.Inputs["video_position_ids"]))
		}},
		{ids.Audio, func() ([][]float32, error) {
			return c.Model.Sounds(c.Context(), clips(r.Inputs["input_features"], r.Inputs["input_features_mask"]))
		}},
	} {
		places := stretches(tokens, kind.id)
		if kind.id < 0 || len(places) == 0 {
			continue
		}
		vectors := Must[[][]float32](c)(kind.vectors())
		if len(vectors) != len(places) {
			c.Fatalf("%d media for %d places", len(vectors), len(places))
		}
		for i, at := range places {
			if n := len(vectors[i]) / c.Model.Config().Width; n != at[1]-at[0] {
				c.Fatalf("%d soft tokens for %d places", n, at[1]-at[0])
			}
			soft = append(soft, gemma.Soft{At: at[0], Vectors: vectors[i]})
		}
	}
	return soft
}

// stretches are the runs of a token.
func stretches(tokens []int32, id int32) (all [][2]int) {
	for i := 0; i < len(tokens); i++ {
		from := i
		for i < len(tokens) && tokens[i] == id {
			i++
		}
		if i > from {
			all = append(all, [2]int{from, i})
		}
	}
	return all
}

// together is what the run's token types let see each other.
func (c *Case) together(r golden, n int) [][2]int {
	types := r.Inputs["token_type_ids"]
	if config := c.Model.Config(); config.Prefix {
		if types.Shape != nil {
			n = slices.Index(types.row(0), 1)
		}
		return config.Together(nil, n)
	}
	if types.Shape == nil {
		types = r.Inputs["mm_token_type_ids"]
	}
	if types.Shape == nil {
		return nil
	}
	var kinds []int32
	for _, v := range types.row(0) {
		if v == 2 { // video counts as a picture, sound does not
			v = 1
		}
		kinds = append(kinds, int32(v))
	}
	return stretches(kinds, 1)
}

// media compares what towers make of the run's pictures and sounds.
func (c *Case) media(r golden) {
	seen := pictures(r.Inputs["pixel_values"], r.Inputs["image_position_ids"])
	if want, ok := r.Outputs["vision_last_hidden_state"]; ok {
		c.Near("the tower's states", slices.Concat(Must[[][]float32](c)(c.Model.PictureStates(c.Context(), seen))...), want.Data)
	}
	if want, ok := r.Outputs["image_soft_tokens"]; ok {
		c.Near("soft tokens", slices.Concat(Must[[][]float32](c)(c.Model.Pictures(c.Context(), seen))...), want.Data)
	}
	if want, ok := r.Outputs["image_hard_tokens"]; ok {
		c.Near("hard tokens", Must[[]float32](c)(c.Model.HardPictures(c.Context(), r.Inputs["image_hard_ids"].ids(0))), want.Data)
	}
	heard := clips(r.Inputs["input_features"], r.Inputs["input_features_mask"])
	mask := r.Outputs["audio_mask"]
	if mask.Shape == nil {
		mask = r.Inputs["input_features_mask"]
	}
	if want, ok := r.Outputs["audio_encoder"]; ok {
		c.valid("the sound tower's states", Must[[][]float32](c)(c.Model.SoundStates(c.Context(), heard)), want, mask)
	}
	if want, ok := r.Outputs["audio_soft_tokens"]; ok {
		c.valid("sounds", Must[[][]float32](c)(c.Model.Sounds(c.Context(), heard)), want, mask)
	}
}

// valid compares rows of clips where the mask says that there is sound, and
// that there are no more.
func (c *Case) valid(what string, got [][]float32, want, mask array) {
	c.Helper()
	for i := range want.Shape[0] {
		part, width, n := want.part(i), want.Shape[2], 0
		for j, m := range mask.row(i) {
			if m == 0 {
				continue
			}
			if (n+1)*width > len(got[i]) {
				c.Fatalf("%s: clip %d has %d rows, want more", what, i, n)
			}
			c.Near(fmt.Sprintf("%s, clip %d, row %d", what, i, j), got[i][n*width:(n+1)*width], part.row(j))
			n++
		}
		if len(got[i]) != n*width {
			c.Fatalf("%s: clip %d has %d numbers, want %d rows of %d", what, i, len(got[i]), n, width)
		}
	}
}

// sounds is the tower of Gemma 3n by itself.
func (c *Case) sounds(r golden) {
	padding := r.Inputs["audio_mel_mask_true_is_padding"]
	flip := func(a array) array {
		out := array{Shape: a.Shape, Data: slices.Clone(a.Data)}
		for i, v := range out.Data {
			out.Data[i] = 1 - v
		}
		return out
	}
	heard, mask := clips(r.Inputs["audio_mel"], flip(padding)), flip(r.Outputs["mask_true_is_padding"])
	c.valid("states", Must[[][]float32](c)(c.Model.SoundStates(c.Context(), heard)), r.Outputs["last_hidden_state"], mask)
	c.valid("soft tokens", Must[[][]float32](c)(c.Model.Sounds(c.Context(), heard)), r.Outputs["soft_tokens"], mask)
	hard := Must[[]float32](c)(c.Model.HardSounds(c.Context(), r.Inputs["embed_ids"].ids(0)))
	c.Near("hard tokens", hard, r.Outputs["hard_tokens"].Data)
}

func (c *Case) verdict(r golden) {
	logits, probabilities, err := c.Model.Verdict(c.Context(), c.step(r))
	if err != nil {
		c.Fatal(err)
	}
	c.Near("logits", logits[:], r.Outputs["logits"].Data)
	c.Near("probabilities", probabilities[:], r.Outputs["probabilities"].Data)
}

func (c *Case) pairs(r golden) {
	var texts [][]int32
	for i := range r.Inputs["input_ids"].Shape[0] {
		texts = append(texts, r.Inputs["input_ids"].ids(i))
	}
	seen, read, logits, err := c.Model.Pairs(c.Context(), pictures(r.Inputs["pixel_values"], array{}), texts)
	if err != nil {
		c.Fatal(err)
	}
	c.rowsNear("pictures", seen, r.Outputs["image_embeds"])
	c.rowsNear("texts", read, r.Outputs["text_embeds"])
	c.rowsNear("logits", logits, r.Outputs["logits_per_image"])
}
