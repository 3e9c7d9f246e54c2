package sound_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"

	"lapidary/media/sound"
)

// Kinds of messages in PulseAudio's native protocol.
const (
	pulseError        = 0
	pulseReply        = 2
	pulseRecord       = 5
	pulseAuth         = 8
	pulseClientName   = 9
	pulseKilled       = 65
	pulseClientEvent  = 82
	pulseAccessDenied = 1
)

// pulse is a server that speaks as much of the protocol, in its version 12, as
// a recording needs. after is what it does once the recording has begun.
func pulse(t *testing.T, deny bool, after func(c net.Conn)) {
	socket := filepath.Join(t.TempDir(), "native")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PULSE_SERVER", "{another-machine}unix:"+socket)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, tag, body, err := pulseRequest(c)
			if err != nil {
				return
			}
			switch {
			case deny:
				pulseSend(c, pulseError, tag, pulseWord(pulseAccessDenied))
			case kind == pulseAuth:
				pulseSend(c, pulseReply, tag, pulseWord(12))
			case kind == pulseClientName:
				pulseSend(c, pulseReply, tag, pulseWord(1))
			case kind == pulseRecord:
				// The request starts with the format, which the reply repeats.
				var b []byte
				for _, v := range []uint32{7, 8, 1 << 20, 3200} {
					b = append(b, pulseWord(v)...)
				}
				b = append(b, body[:7]...)
				b = append(b, 'm', 1, 0)
				b = append(b, pulseWord(3)...)
				b = append(b, "tmic\x000"...)
				pulseSend(c, pulseReply, tag, b)
				after(c)
			}
		}
	}()
}

func pulseWord(v uint32) []byte { return binary.BigEndian.AppendUint32([]byte{'L'}, v) }

func pulseRequest(c net.Conn) (kind, tag uint32, body []byte, err error) {
	head := make([]byte, 20)
	if _, err = io.ReadFull(c, head); err != nil {
		return
	}
	body = make([]byte, binary.BigEndian.Uint32(head))
	if _, err = io.ReadFull(c, body); err != nil {
		return
	}
	return binary.BigEndian.Uint32(body[1:]), binary.BigEndian.Uint32(body[6:]), body[10:], nil
}

func pulseSend(c net.Conn, kind, tag uint32, body []byte) {
	pulsePacket(c, 0xFFFFFFFF, append(append(pulseWord(kind), pulseWord(tag)...), body...))
}

// pulsePacket sends on a channel, in two parts to make reading harder. A test
// that has heard enough does not wait for the rest.
func pulsePacket(c net.Conn, channel uint32, body []byte) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, channel)
	b = append(b, make([]byte, 12)...)
	b = append(b, body...)
	_, _ = c.Write(b[:len(b)/2])
	_, _ = c.Write(b[len(b)/2:])
}

func floats(values ...float32) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, values)
	return b.Bytes()
}

func TestMicrophone(t *testing.T) {
	pulse(t, false, func(c net.Conn) {
		pulsePacket(c, 7, floats(0.25, -0.5))
		pulseSend(c, pulseClientEvent, 0xFFFFFFFF, []byte("tx\x00PN")) // of no interest
		pulsePacket(c, 7, floats(1, 0, -1))
		pulsePacket(c, 7, floats(9))
	})
	var got []float32
	err := sound.Microphone(t.Context(), 16000, func(samples []float32) error {
		if got = append(got, samples...); len(got) >= 5 {
			return io.EOF
		}
		return nil
	})
	want := []float32{0.25, -0.5, 1, 0, -1}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v: %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("sample %d is %g, want %g", i, got[i], want[i])
		}
	}
}

func TestMicrophoneEnds(t *testing.T) {
	t.Run("with the context", func(t *testing.T) {
		pulse(t, false, func(c net.Conn) { pulsePacket(c, 7, floats(1)) })
		ctx, cancel := context.WithCancel(t.Context())
		if err := sound.Microphone(ctx, 16000, func([]float32) error { cancel(); return nil }); err != nil {
			t.Error(err)
		}
	})
	t.Run("before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := sound.Microphone(ctx, 16000, nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("with an error of the listener", func(t *testing.T) {
		pulse(t, false, func(c net.Conn) { pulsePacket(c, 7, floats(1)) })
		own := errors.New("own")
		if err := sound.Microphone(t.Context(), 16000, func([]float32) error { return own }); !errors.Is(err, own) {
			t.Error(err)
		}
	})
	t.Run("with the connection", func(t *testing.T) {
		pulse(t, false, func(c net.Conn) { c.Close() })
		expect(t, "lost", sound.Microphone(t.Context(), 16000, nil), "connection to the sound server is lost")
	})
	t.Run("with the source", func(t *testing.T) {
		pulse(t, false, func(c net.Conn) { pulseSend(c, pulseKilled, 0xFFFFFFFF, pulseWord(7)) })
		expect(t, "killed", sound.Microphone(t.Context(), 16000, nil), "connection to the sound server is lost")
	})
	t.Run("when it listens too slowly", func(t *testing.T) {
		full := make(chan struct{})
		pulse(t, false, func(c net.Conn) {
			for range 1000 {
				pulsePacket(c, 7, floats(1))
			}
			close(full)
		})
		err := sound.Microphone(t.Context(), 16000, func([]float32) error { <-full; return nil })
		expect(t, "slow", err, "not taken fast enough")
	})
}

func TestMicrophoneSaysWhy(t *testing.T) {
	t.Run("denied", func(t *testing.T) {
		pulse(t, true, nil)
		expect(t, "denied", sound.Microphone(t.Context(), 16000, nil), "refuses")
	})
	t.Run("absent", func(t *testing.T) {
		t.Setenv("PULSE_SERVER", "")
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		expect(t, "absent", sound.Microphone(t.Context(), 16000, nil), "start one or name it in PULSE_SERVER")
	})
	expect(t, "rate", sound.Microphone(t.Context(), 1, nil), "rates from 1000 to 192000 Hz")
	t.Run("another protocol", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
				c.Close()
			}
		}()
		t.Setenv("PULSE_SERVER", "tcp:"+l.Addr().String())
		expect(t, "http", sound.Microphone(t.Context(), 16000, nil), "refuses")
	})
}
