package sound_test

import (
	"testing"

	"lapidary/media/sound/soundtest"
)

func TestGolden(t *testing.T) { soundtest.Golden(t, "testdata/audio_features") }
