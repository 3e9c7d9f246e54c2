package picture

import (
	"fmt"
	"math"
	"slices"
)

// A Layout says in what form the vision part of a model takes a picture.
type Layout int

const (
	// Square: whole pictures of one fixed size, values [pictures, 3, height, width]. Gemma 3, PaliGemma, T5Gemma 2, Gemma 3n.
	Square Layout = iota
	// Patches: any aspect ratio, values [patches, patch·patch·3] in (row, column, channel) order. Gemma 4's vision tower.
	Patches
	// MergedPatches: as Patches, with Pooling × Pooling patches made one. Gemma 4 unified.
	MergedPatches
)

// PanAndScan cuts elongated pictures into crops that are shown after the whole picture (Gemma 3).
type PanAndScan struct {
	Enabled  bool
	MinCrop  int     // pixels that a crop has at least on each side
	MaxCrops int     // of one picture
	MinRatio float64 // of the longer side to the shorter
}

// A Config holds the settings of an image processor. Use [Defaults] or [ReadConfig] to get one.
type Config struct {
	Layout Layout

	Resize        bool
	Filter        Filter
	Width, Height int // of Square

	Rescale   bool
	Factor    float64 // values are multiplied with it
	Normalise bool    // (value − Mean) / Std, a channel each
	Mean, Std [3]float64

	PanAndScan PanAndScan

	PatchSize     int // side of a patch, in pixels
	Pooling       int // patches to a side of a soft token
	MaxSoftTokens int // budget a picture: 70, 140, 280, 560 or 1120 with published models

	// SoftTokens is how many tokens a Square picture takes in the prompt; 0 where the checkpoint does not say.
	SoftTokens int
}

// Features are one picture, ready for a model.
type Features struct {
	// Values are row-major in Shape: [1 + Crops, 3, height, width] or [patches, values a patch].
	Values []float32
	Shape  []int
	// Positions are (x, y) of each patch, counted in patches. Nil for Square.
	Positions [][2]int32
	// SoftTokens is how many tokens the picture takes in the prompt; with Square, each of the 1 + Crops pictures.
	SoftTokens int
	// Crops is the number of crops behind the whole picture.
	Crops int
}

// Features resizes m, scales its values and lays them out. Errors say which setting or which size cannot be used.
func (c Config) Features(m *Image) (*Features, error) {
	if m == nil || len(m.Pix) != 3*m.Width*m.Height {
		return nil, fmt.Errorf("no picture")
	}
	if c.Normalise && slices.Contains(c.Std[:], 0) {
		return nil, fmt.Errorf("image_std has a zero: %v", c.Std)
	}
	if c.Layout == Square {
		return c.square(m)
	}
	return c.patches(m)
}

func (c Config) square(m *Image) (*Features, error) {
	pictures := []*Image{m}
	if c.PanAndScan.Enabled {
		crops, err := c.PanAndScan.crops(m)
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, crops...)
	}
	f := &Features{SoftTokens: c.SoftTokens, Crops: len(pictures) - 1}
	values := c.valueTables()
	for i, p := range pictures {
		if c.Resize || c.PanAndScan.Enabled { // as the reference: crops need one size
			var err error
			if p, err = p.Resize(c.Width, c.Height, c.Filter); err != nil {
				return nil, err
			}
		}
		if i == 0 {
			f.Shape = []int{len(pictures), 3, p.Height, p.Width}
		}
		f.Values = slices.Grow(f.Values, len(p.Pix))
		for channel := range 3 {
			for at := channel; at < len(p.Pix); at += 3 {
				f.Values = append(f.Values, values[channel][p.Pix[at]])
			}
		}
	}
	return f, nil
}

// crops follows Gemma 3's rule: as many crops along the longer side as the ratio of the sides, rounded half up, but at least two,
// at most MaxCrops, and none narrower than MinCrop. The last one is smaller where the side does not divide.
func (p PanAndScan) crops(m *Image) ([]*Image, error) {
	if p.MinCrop <= 0 || p.MaxCrops <= 0 {
		return nil, fmt.Errorf("pan and scan needs a least crop size and a largest number of crops above 0, not %d and %d", p.MinCrop, p.MaxCrops)
	}
	long, short := max(m.Width, m.Height), min(m.Width, m.Height)
	ratio := float64(long) / float64(short)
	if ratio < p.MinRatio {
		return nil, nil
	}
	n := min(int(math.Floor(ratio+0.5)), long/p.MinCrop)
	n = min(max(n, 2), p.MaxCrops)
	size := (long + n - 1) / n
	if min(size, short) < p.MinCrop {
		return nil, nil
	}
	if (n-1)*size >= long {
		return nil, fmt.Errorf("pan and scan cannot cut a side of %d pixels into %d crops: raise the least crop size", long, n)
	}
	out := make([]*Image, n)
	for i := range out {
		if m.Width >= m.Height {
			out[i] = m.Crop(i*size, 0, size, m.Height)
		} else {
			out[i] = m.Crop(0, i*size, m.Width, size)
		}
	}
	return out, nil
}

// valueTables has for each channel what becomes of a sample. The steps are rounded to float32 where the reference rounds them.
func (c Config) valueTables() (tables [3][256]float32) {
	for channel := range tables {
		mean, std := float32(c.Mean[channel]), float32(c.Std[channel])
		for i := range tables[channel] {
			v := float32(i)
			if c.Rescale {
				v = float32(float64(i) * c.Factor)
			}
			if c.Normalise {
				v = (v - mean) / std
			}
			tables[channel][i] = v
		}
	}
	return tables
}

// checkPatches also bounds the sizes: they come from a file.
func (c Config) checkPatches() error {
	const most = 1 << 12
	if c.PatchSize <= 0 || c.Pooling <= 0 || c.MaxSoftTokens <= 0 || c.PatchSize > most || c.Pooling > most || c.MaxSoftTokens > most {
		return fmt.Errorf("patch size %d, pooling kernel size %d and %d soft tokens must all be 1 to %d", c.PatchSize, c.Pooling, c.MaxSoftTokens, most)
	}
	return nil
}

// TargetSize is the size to which a picture is resized for Patches and MergedPatches: the largest that keeps the aspect ratio,
// has sides divisible by Pooling·PatchSize, and takes at most MaxSoftTokens. A picture so thin that a side would be nothing gets
// one row, or column, of soft tokens.
func (c Config) TargetSize(width, height int) (targetWidth, targetHeight int, err error) {
	if err := c.checkPatches(); err != nil {
		return 0, 0, err
	}
	if width <= 0 || height <= 0 {
		return 0, 0, fmt.Errorf("picture has no pixels: %d × %d", width, height)
	}
	side := c.Pooling * c.PatchSize
	pixels := c.MaxSoftTokens * side * side
	factor := math.Sqrt(float64(pixels) / (float64(height) * float64(width)))
	targetHeight = int(math.Floor(factor*float64(height)/float64(side))) * side
	targetWidth = int(math.Floor(factor*float64(width)/float64(side))) * side
	switch {
	case targetHeight == 0 && targetWidth == 0:
		return 0, 0, fmt.Errorf("a picture of %d × %d pixels does not fill one soft token of %d × %d", width, height, side, side)
	case targetHeight == 0:
		targetHeight, targetWidth = side, min(width/height, c.MaxSoftTokens)*side
	case targetWidth == 0:
		targetWidth, targetHeight = side, min(height/width, c.MaxSoftTokens)*side
	}
	if targetHeight*targetWidth > pixels || targetHeight > maxSide || targetWidth > maxSide {
		return 0, 0, fmt.Errorf("a picture of %d × %d pixels cannot be resized to at most %d soft tokens of %d × %d", width, height, c.MaxSoftTokens, side, side)
	}
	return targetWidth, targetHeight, nil
}

func (c Config) patches(m *Image) (*Features, error) {
	width, height, err := c.TargetSize(m.Width, m.Height)
	if err != nil {
		return nil, err
	}
	if c.Resize && (width != m.Width || height != m.Height) {
		if m, err = m.Resize(width, height, c.Filter); err != nil {
			return nil, err
		}
	}
	side := c.Pooling * c.PatchSize
	if m.Width%side != 0 || m.Height%side != 0 || m.Width*m.Height > c.MaxSoftTokens*side*side {
		return nil, fmt.Errorf("picture of %d × %d pixels is not to be resized and does not fit: want sides divisible by %d and at most %d soft tokens",
			m.Width, m.Height, side, c.MaxSoftTokens)
	}
	patch := c.PatchSize
	if c.Layout == MergedPatches {
		patch = side
	}
	columns, rows := m.Width/patch, m.Height/patch
	f := &Features{
		Values:     make([]float32, 0, len(m.Pix)),
		Shape:      []int{columns * rows, 3 * patch * patch},
		Positions:  make([][2]int32, 0, columns*rows),
		SoftTokens: m.Width / side * (m.Height / side),
	}
	tables := c.valueTables()
	for y := range rows {
		for x := range columns {
			f.Positions = append(f.Positions, [2]int32{int32(x), int32(y)})
			for r := range patch {
				for i, v := range m.row(y*patch + r)[3*x*patch:][:3*patch] {
					f.Values = append(f.Values, tables[i%3][v])
				}
			}
		}
	}
	return f, nil
}

// MaxPatches is the number of patches that the reference pads a picture to.
func (c Config) MaxPatches() int {
	if c.Layout == Patches {
		return c.MaxSoftTokens * c.Pooling * c.Pooling
	}
	return c.MaxSoftTokens
}

// Pad appends patches of zeros at position (−1, −1) until there are n, as the reference does to batch pictures of different sizes.
func (f *Features) Pad(n int) {
	if f.Positions == nil || n <= f.Shape[0] {
		return
	}
	f.Values = append(f.Values, make([]float32, (n-f.Shape[0])*f.Shape[1])...)
	for range n - f.Shape[0] {
		f.Positions = append(f.Positions, [2]int32{-1, -1})
	}
	f.Shape[0] = n
}
