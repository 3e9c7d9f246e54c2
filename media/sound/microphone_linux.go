package sound

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jfreymuth/pulse/proto"
)

const (
	pulseTimeout = 5 * time.Second
	pulsePiece   = 50 // ms
	// pulseBacklog is how many pieces wait for heard, 10 s.
	pulseBacklog = 200
)

func microphone(ctx context.Context, rate int, heard func([]float32) error) error {
	ear, err := openEar(ctx)
	if ctx.Err() != nil {
		if err == nil {
			ear.close()
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("sound: %w", err)
	}
	defer ear.close()
	if err := ear.listen(rate); err != nil {
		return fmt.Errorf("sound: microphone: %w", err)
	}
	var samples []float32
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ear.lost:
			return errors.New("sound: microphone: the connection to the sound server is lost")
		case <-ear.full:
			return errors.New("sound: microphone: what was heard is not taken fast enough")
		case piece := <-ear.pieces:
			samples = samples[:0]
			for ; len(piece) >= 4; piece = piece[4:] {
				samples = append(samples, math.Float32frombits(binary.LittleEndian.Uint32(piece)))
			}
			if err := heard(samples); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
		}
	}
}

// ear is a connection to a sound server. The library's own Connect is not
// used: it reads from the server before it can be told what to do when the
// connection ends then, and would end the process. It also prints what it does
// not know, therefore it only gets to see whole replies and sound.
type ear struct {
	conn     net.Conn
	rest     []byte // of a packet that the library has begun to read
	client   proto.Client
	pieces   chan []byte
	lost     chan struct{}
	full     chan struct{}
	fullOnce sync.Once
}

// Read hands the library a packet at a time and tells when the connection
// ends, for whatever reason. The library does not read on after that.
func (e *ear) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		var err error
		if e.rest, err = readPulsePacket(e.conn); err != nil {
			close(e.lost)
			return 0, io.EOF
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// maxPulsePacket is far above what a server sends for pieces of 50 ms.
const maxPulsePacket = 1 << 20

// readPulsePacket reads the next packet that is sound, a reply or an error.
// A packet is preceded by its length, its channel (all ones for messages) and
// 12 bytes that do not matter; a message starts with its kind.
func readPulsePacket(r io.Reader) ([]byte, error) {
	for {
		packet := make([]byte, 20)
		if _, err := io.ReadFull(r, packet); err != nil {
			return nil, err
		}
		length := binary.BigEndian.Uint32(packet)
		if length > maxPulsePacket {
			return nil, errors.New("not the protocol of PulseAudio")
		}
		packet = append(packet, make([]byte, length)...)
		if _, err := io.ReadFull(r, packet[20:]); err != nil {
			return nil, err
		}
		if binary.BigEndian.Uint32(packet[4:]) != math.MaxUint32 {
			return packet, nil
		}
		if length < 10 {
			return nil, errors.New("not the protocol of PulseAudio")
		}
		switch binary.BigEndian.Uint32(packet[21:]) {
		case proto.OpError, proto.OpReply:
			return packet, nil
		case proto.OpRecordStreamKilled:
			return nil, errors.New("the source is gone")
		}
	}
}

func (e *ear) Write(p []byte) (int, error) { return e.conn.Write(p) }

// close ends the connection and waits for its reader.
func (e *ear) close() {
	_ = e.conn.Close() // nothing was promised to arrive
	<-e.lost
}

func openEar(ctx context.Context) (*ear, error) {
	network, address := pulseServer()
	dialer := net.Dialer{Timeout: pulseTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("no microphone: neither PulseAudio nor PipeWire answers at %s: start one or name it in PULSE_SERVER", address)
	}
	e := &ear{
		conn: conn, pieces: make(chan []byte, pulseBacklog),
		lost: make(chan struct{}), full: make(chan struct{}),
	}
	e.client.SetTimeout(pulseTimeout)
	e.client.Callback = e.take
	e.client.Open(e)
	// A connection that is never closed would keep a cancelled call waiting.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := e.introduce(); err != nil {
		e.close()
		return nil, fmt.Errorf("no microphone: the sound server at %s refuses: %w", address, err)
	}
	return e, nil
}

// pulseServer is where the server listens
// (freedesktop.org, PulseAudio, Server strings).
func pulseServer() (network, address string) {
	for _, s := range strings.Fields(os.Getenv("PULSE_SERVER")) {
		if strings.HasPrefix(s, "{") { // only on the machine of that name
			_, s, _ = strings.Cut(s, "}")
		}
		if rest, ok := strings.CutPrefix(s, "unix:"); ok || strings.HasPrefix(s, "/") {
			return "unix", strings.TrimPrefix(rest, "unix:")
		}
		for _, scheme := range []string{"tcp4", "tcp6", "tcp"} {
			if rest, ok := strings.CutPrefix(s, scheme+":"); ok {
				if _, _, err := net.SplitHostPort(rest); err != nil {
					rest = net.JoinHostPort(rest, "4713")
				}
				return scheme, rest
			}
		}
	}
	folder := os.Getenv("XDG_RUNTIME_DIR")
	if folder == "" {
		folder = fmt.Sprintf("/run/user/%d", os.Getuid())
	}
	return "unix", filepath.Join(folder, "pulse", "native")
}

// introduce says who it is. A server that lets in everybody takes any cookie.
func (e *ear) introduce() error {
	path := os.Getenv("PULSE_COOKIE")
	if path == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			config = "/nonexistent"
		}
		path = filepath.Join(config, "pulse", "cookie")
	}
	cookie, err := os.ReadFile(path)
	if err != nil || len(cookie) != 256 {
		cookie = make([]byte, 256)
	}
	var auth proto.AuthReply
	if err := e.client.Request(&proto.Auth{Version: e.client.Version(), Cookie: cookie}, &auth); err != nil {
		return err
	}
	e.client.SetVersion(auth.Version)
	props := proto.PropList{
		"application.name": proto.PropListString("lapidary"),
		"media.name":       proto.PropListString("microphone"),
	}
	return e.client.Request(&proto.SetClientName{Props: props}, &proto.SetClientNameReply{})
}

func (e *ear) listen(rate int) error {
	piece := uint32(rate*pulsePiece/1000) * 4
	request := &proto.CreateRecordStream{
		SampleSpec:         proto.SampleSpec{Format: proto.FormatFloat32LE, Channels: 1, Rate: uint32(rate)},
		ChannelMap:         proto.ChannelMap{proto.ChannelMono},
		SourceIndex:        proto.Undefined,
		BufferMaxLength:    proto.Undefined,
		BufferFragSize:     piece,
		AdjustLatency:      true,
		DirectOnInputIndex: proto.Undefined,
		Properties:         proto.PropList{},
		ChannelVolumes:     proto.ChannelVolumes{0x10000},
	}
	var reply proto.CreateRecordStreamReply
	if err := e.client.Request(request, &reply); err != nil {
		return fmt.Errorf("the sound server gives no source: %w", err)
	}
	if s := reply.SampleSpec; s.Format != proto.FormatFloat32LE || s.Channels != 1 || s.Rate != uint32(rate) {
		return fmt.Errorf("the sound server gives %d channels at %d Hz in format %d and was asked for one at %d Hz", s.Channels, s.Rate, s.Format, rate)
	}
	return nil
}

// take runs in the connection's reader, whose memory a packet is.
func (e *ear) take(message any) {
	packet, ok := message.(*proto.DataPacket)
	if !ok {
		return
	}
	select {
	case e.pieces <- append([]byte(nil), packet.Data...):
	default:
		e.fullOnce.Do(func() { close(e.full) })
	}
}
