package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed peer.py
var peerProgram string

// peer is Hugging Face's tokenizers in a process of their own.
type peer struct {
	cmd        *exec.Cmd
	in         io.WriteCloser
	out        *bufio.Reader
	complaints bytes.Buffer
	ids        string // file that it writes at the end
	load       time.Duration
	kilobytes  int
}

// startPeer loads the vocabulary in folder, where files are written, too.
func startPeer(python, folder string, documents []string) (*peer, error) {
	data, err := json.Marshal(documents)
	if err != nil {
		return nil, err
	}
	texts := filepath.Join(folder, "documents.json")
	if err := os.WriteFile(texts, data, 0o600); err != nil {
		return nil, err
	}
	p := &peer{ids: filepath.Join(folder, "ids")}
	p.cmd = exec.Command(python, "-c", peerProgram, filepath.Join(folder, "tokenizer.json"), texts, p.ids)
	p.cmd.Stderr = &p.complaints
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var seconds float64
	if _, err := fmt.Fscanln(p.out, &seconds, &p.kilobytes); err != nil {
		return nil, p.failure(err)
	}
	p.load = time.Duration(seconds * float64(time.Second))
	return p, nil
}

// failure is what the process said before it went.
func (p *peer) failure(err error) error {
	if waitErr := errors.Join(p.in.Close(), p.cmd.Wait()); waitErr != nil {
		err = waitErr
	}
	return fmt.Errorf("%s: %w: %s", p.cmd.Path, err, bytes.TrimSpace(p.complaints.Bytes()))
}

// encode lets the peer encode all documents once.
func (p *peer) encode() (seconds float64, err error) {
	if _, err := fmt.Fprintln(p.in); err != nil {
		return 0, p.failure(err)
	}
	if _, err := fmt.Fscanln(p.out, &seconds); err != nil {
		return 0, p.failure(err)
	}
	return seconds, nil
}

// finish ends the process and returns the ids of all documents.
func (p *peer) finish() ([]int32, error) {
	if err := p.in.Close(); err != nil {
		return nil, err
	}
	if err := p.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", p.cmd.Path, err, bytes.TrimSpace(p.complaints.Bytes()))
	}
	data, err := os.ReadFile(p.ids)
	if err != nil {
		return nil, err
	}
	ids := make([]int32, len(data)/4)
	_, err = binary.Decode(data, binary.NativeEndian, ids)
	return ids, err
}
