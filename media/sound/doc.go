/*
Package sound turns recordings into what the audio towers of Gemma take.

Three steps lead there. [Decode] makes samples of a file: one channel, at the
rate the file has. [Resample] brings them to the rate of the model, 16 kHz for
all families so far; [DecodeAt] does both. An [Extractor] then makes
[Features]: log-mel spectra for Gemma 3n and Gemma 4, frames of samples for
Gemma 4 unified. A model takes 30 seconds at once, and [Chunks] splits what is
longer in its pauses. [Microphone] is another source of samples.

	clip, err := sound.DecodeAt(file, 16000, sound.Limits{})
	params, err := sound.ReadParams(folder)
	extractor, err := sound.NewExtractor(params)
	features, err := extractor.Features(clip.Samples)

# Formats

The format is found by the first bytes, not by a name.

  - WAV, also RF64 and BW64: whole numbers of 8, 16, 24 and 32 bits, floating
    point of 32 and 64, A-law, µ-law, with and without the extensible header.
    Decoded exactly.
  - FLAC (github.com/mewkiz/flac): exactly.
  - MP3 (github.com/hajimehoshi/go-mp3): MPEG-1 and MPEG-2, layer III; MPEG-2.5,
    which is to say 8 to 12 kHz, is refused. Against ffmpeg speech comes out
    with differences 70 dB below it. In MPEG-2 that library errs in short
    blocks, so that sounds with sharp onsets are only 45 dB near, and its last
    frame is slightly off. It is no longer developed. What encoders add before
    and after the sound is taken off if LAME's tag says how much.
  - Ogg Vorbis (github.com/jfreymuth/vorbis): to 1e-6 of ffmpeg's.
  - Ogg Opus (github.com/pion/opus), one or two channels: all three of its
    modes. Against libopus the differences are 79 dB below the sound in CELT, 64
    in hybrid, 58 in SILK at 12 kbit/s and 47 at 6, which is its resampler's way
    of rounding.

Several channels become their mean. Other formats, M4A, WebM and AIFF among
them, are refused by name.

# Damage and hostile files

A recording that breaks off is returned as far as it goes, with the reason in
[Clip.Damage]; one of which nothing can be had is an error. [Limits] bound the
bytes read and the seconds decoded: beyond them is an error, not a shorter
clip. Rates from 1 to 768 kHz and up to 255 channels are taken. Nothing is
allocated because a header says so; headers that a library would believe are
checked before it sees them, and a panic of a library becomes an error.

# Features

Settings are data, [Params]: those of a family by [Defaults], those of a
checkpoint by [ReadParams]. Log-mel spectra are computed in float64 and follow
transformers 5.23.0, whose float32 they are within 1e-4 of; single clips and
batches of several lengths are padded as it pads them, with its masks. It cuts
off what is longer than the model takes, without a word; here that is an error.

30 seconds take 40 ms in Gemma 3n and 21 ms in Gemma 4 on one core (AMD Zen 3),
resampling them from 48 to 16 kHz takes 38 ms (go test -bench .).

# Concurrency

Functions may be called from many goroutines at once, and so may the methods of
an Extractor. Slices that are passed in are only read, and not kept.
*/
package sound
