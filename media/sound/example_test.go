package sound_test

import (
	"fmt"
	"os"

	"lapidary/media/sound"
)

// A recording becomes the features of Gemma 4.
func Example() {
	file, err := os.Open("testdata/celt.opus")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	params, _ := sound.Defaults("gemma4") // or ReadParams of a checkpoint's folder
	clip, err := sound.DecodeAt(file, params.Rate, sound.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	extractor, err := sound.NewExtractor(params)
	if err != nil {
		fmt.Println(err)
		return
	}
	features, err := extractor.Features(clip.Samples)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.1f s: %d frames of %d bands\n", clip.Seconds(), features.Valid(0), features.Size)
	// Output: 0.2 s: 19 frames of 128 bands
}
