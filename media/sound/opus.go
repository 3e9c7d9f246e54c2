package sound

import "github.com/pion/opus"

// opusRate is the rate at which Ogg Opus counts, whatever was recorded
// (RFC 7845 §4), and opusMax the samples of its longest packet, 120 ms.
const (
	opusRate = 48000
	opusMax  = opusRate * 120 / 1000
)

func decodeOpus(data []byte, m *mixer) error {
	o := &oggReader{rest: data}
	first, err := o.next()
	if err != nil {
		return err
	}
	head, err := parseOpusHead(first.data)
	if err != nil {
		return err
	}
	if _, err := o.next(); err != nil { // the comments
		return err
	}
	if err := m.start(opusRate, head.channels); err != nil {
		return err
	}
	d, err := opus.NewDecoderWithOutput(opusRate, head.channels)
	if err != nil {
		return err
	}
	buf := make([]float32, opusMax*head.channels)
	return decodeOgg(o, m, head.skip, func(packet []byte) error {
		if len(packet) == 0 {
			return nil
		}
		n, err := d.DecodeToFloat32(packet, buf)
		if err != nil {
			return err
		}
		sound := buf[:n*head.channels]
		for i := range sound {
			sound[i] *= head.gain
		}
		return m.frames(sound)
	})
}
