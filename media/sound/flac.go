package sound

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mewkiz/flac"
)

func decodeFLAC(data []byte, m *mixer) error {
	stream, err := flac.New(bytes.NewReader(data))
	if err != nil {
		return err
	}
	info := stream.Info
	if info.BitsPerSample < 4 || info.BitsPerSample > 32 {
		return fmt.Errorf("%d bits a sample: FLAC has 4 to 32", info.BitsPerSample)
	}
	if err := m.start(int(info.SampleRate), int(info.NChannels)); err != nil {
		return err
	}
	scale := 1 / float64(uint64(1)<<(info.BitsPerSample-1)) / float64(m.channels)
	for {
		frame, err := stream.ParseNext()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if len(frame.Subframes) != m.channels {
			return fmt.Errorf("a frame has %d channels and the header says %d", len(frame.Subframes), m.channels)
		}
		for i := range frame.Subframes[0].Samples {
			var sum int64
			for _, s := range frame.Subframes {
				sum += int64(s.Samples[i])
			}
			if err := m.add(float64(sum) * scale); err != nil {
				return err
			}
		}
	}
	if missing := int64(info.NSamples) - int64(len(m.out)); missing > 0 {
		return missingSamples(int(missing))
	}
	return nil
}
