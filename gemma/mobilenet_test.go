package gemma_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/gemma/goldentest"
)

// mobileConfig is a Gemma 3n whose vision_config has the given fields.
func mobileConfig(fields string) string {
	return fmt.Sprintf(`{"model_type": "gemma3n", "text_config": {}, "vision_config": {"model_type": "gemma3n_vision"%s}}`, fields)
}

// TestMobileNetPublished: what a published folder says makes the network that
// timm 1.0.31 builds for it: 84 blocks of 294,126,912 weights in 548 tensors.
func TestMobileNetPublished(t *testing.T) {
	c, err := fromJSON(t, mobileConfig(`, "architecture": "mobilenetv5_300m_enc", "hidden_size": 2048, "vocab_size": 128,
		"vocab_offset": 262144, "rms_norm_eps": 1e-06, "do_pooling": true, "model_args": null`))
	if err != nil {
		t.Fatal(err)
	}
	m := c.MobileNet
	if m == nil || m.Width != 2048 || m.Tokens != 16 || m.Hard != 128 || m.First != 262144 || m.Projects != 2048 {
		t.Fatalf("%+v", m)
	}
	tensors, weights := 0, 0
	add := func(sizes ...int) {
		for _, n := range sizes {
			tensors, weights = tensors+1, weights+n
		}
	}
	add(27*m.Stem, m.Stem, m.Stem) // kernels, their bias, a norm
	blocks := 0
	for _, stage := range m.Stages {
		for _, b := range stage {
			blocks++
			mobileWeights(b, add)
		}
	}
	joined := 640 + 1280
	add(joined*2*joined, 2*joined, 2*joined*m.Width, m.Width, m.Width)
	if blocks != 84 || tensors != 548 || weights != 294126912 {
		t.Errorf("%d blocks, %d tensors of %d weights, want 84, 548 and 294126912", blocks, tensors, weights)
	}
}

// mobileWeights adds the sizes of a block's tensors.
func mobileWeights(b gemma.MobileBlock, add func(sizes ...int)) {
	inside := b.In * b.Expand
	switch b.Kind {
	case gemma.EdgeResidual:
		add(b.In*inside*b.Kernel*b.Kernel, inside, inside*b.Out, b.Out)
	case gemma.InvertedBottleneck:
		add(b.In*inside, inside, inside*b.Out, b.Out, b.Out) // and a scale
		for _, conv := range [][2]int{{b.Start, b.In}, {b.Mid, inside}, {b.End, b.Out}} {
			if conv[0] > 0 {
				add(conv[0]*conv[0]*conv[1], conv[1])
			}
		}
	case gemma.MultiQuery:
		all := b.Heads * b.HeadSize
		add(b.In, b.In*all, b.In*b.HeadSize, b.In*b.HeadSize, all*b.Out, b.Out) // a norm before, a scale after
		if b.KeyStride > 1 {
			add(b.Kernel*b.Kernel*b.In, b.In, b.Kernel*b.Kernel*b.In, b.In)
		}
	}
}

// TestMobileNetRefused: networks that are none of this kind are refused in a
// line that says what is wrong.
func TestMobileNetRefused(t *testing.T) {
	blocks := func(first, second string) string {
		return mobileConfig(`, "model_args": {"block_args": [[` + first + `], [` + second + `]]}`)
	}
	const good = `{"block_type": "uir", "out_chs": 8, "stride": 2, "exp_ratio": 2, "dw_kernel_size_mid": 3}`
	if _, err := fromJSON(t, blocks(good, good)); err != nil {
		t.Fatal(err)
	}
	for config, says := range map[string]string{
		mobileConfig(`, "architecture": "resnet50"`):                     `architecture "resnet50" is not supported`,
		mobileConfig(`, "architecture": 5`):                              "vision_config",
		mobileConfig(`, "hidden_size": -1`):                              "picture tower width is -1",
		mobileConfig(`, "vocab_size": 0`):                                "picture tokens is 0",
		mobileConfig(`, "model_args": {"msfa_output_resolution": 0}`):    "soft tokens along an edge is 0",
		mobileConfig(`, "model_args": {"channel_multiplier": 0.5}`):      "channel_multiplier",
		mobileConfig(`, "model_args": {"block_args": [[` + good + `]]}`): "1 stages, want 2",
		blocks(good, strings.Replace(good, `"uir"`, `"ir"`, 1)):          `block 1.0: block_type "ir"`,
		blocks(good, ``): "blocks of a stage is 0",
		blocks(strings.Replace(good, `: 3`, `: 4`, 1), good):                                                                                 "a kernel is 4 wide",
		blocks(strings.Replace(good, `: 3`, `: 0`, 1), good):                                                                                 "a stride of 2 without a convolution",
		blocks(good, strings.Replace(good, `"exp_ratio": 2`, `"exp_ratio": 1.5`, 1)):                                                         "exp_ratio is 1.5",
		blocks(good, strings.Replace(good, `"exp_ratio": 2`, `"exp_ratio": 1e300`, 1)):                                                       "exp_ratio is 1e+300",
		blocks(good, strings.Replace(good, `"stride": 2`, `"stride": 3`, 1)):                                                                 "stride is 3",
		blocks(good, strings.Replace(good, `8`, `12`, 1)):                                                                                    "8 to 12 channels",
		blocks(good, good[:len(good)-1]+`, "se_ratio": 0.25}`):                                                                               "se_ratio",
		blocks(good, good+`, `+good):                                                                                                         "block 1.1 has a stride of 2",
		blocks(good, `{"block_type": "mqa", "out_chs": 8, "stride": 1, "dw_kernel_size": 3, "num_heads": 2, "key_dim": 8, "value_dim": 4}`):  "keys of 8 and values of 4",
		blocks(good, `{"block_type": "mqa", "out_chs": 16, "stride": 1, "dw_kernel_size": 3, "num_heads": 2, "key_dim": 8, "value_dim": 8}`): "from 8 to 16 channels",
		blocks(good, `{"block_type": "mqa", "out_chs": 8, "stride": 1, "dw_kernel_size": 3, "num_heads": 0, "key_dim": 8, "value_dim": 8}`):  "heads is 0",
	} {
		_, err := fromJSON(t, config)
		expectLine(t, err, says)
	}
}

// TestMobileNetPictures: sizes that the tower cannot halve as often as it does,
// or whose places make no soft tokens, are refused; so are tokens that are not
// the tower's.
func TestMobileNetPictures(t *testing.T) {
	m := goldentest.Load(t, filepath.Join("testdata", "goldens", "gemma3n_picture"), ref.New())
	for side, says := range map[int]string{0: "a multiple of 32", 48: "picture 0: 48 pixels along an edge, want a multiple of 32", 65: "65 pixels"} {
		_, err := m.Pictures(t.Context(), []gemma.Picture{{Pixels: make([]float32, 3*side*side)}})
		refused(t, err, says)
	}
	_, err := m.Pictures(t.Context(), []gemma.Picture{{Pixels: make([]float32, 3*64*63)}})
	refused(t, err, "want 3 planes of a square")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Pictures(ctx, []gemma.Picture{{Pixels: make([]float32, 3*64*64)}})
	refused(t, err, "context canceled")
	for _, id := range []int32{140, 145} {
		_, err := m.HardPictures(t.Context(), []int32{id})
		refused(t, err, fmt.Sprintf("token %d is none of the 4 for pictures", id))
	}
}

func refused(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want one line that says %q", err, says)
	}
}
