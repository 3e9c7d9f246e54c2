package goldentest

import (
	"testing"

	"lapidary/media/picture/picturetest"
	"lapidary/media/sound/soundtest"
)

// featureCases are those of what comes before a model.
var featureCases = map[string]func(t *testing.T, folder string){
	"image_features": picturetest.Golden,
	"audio_features": soundtest.Golden,
}
