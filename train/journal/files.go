package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// full marks the errors that mean a disk without room.
func full(err error) error {
	if err == nil || errors.Is(err, ErrFull) || !noSpace(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// appender is a file that grows by whole records. A record that does not fit is
// taken back, so that what follows stays readable.
type appender struct {
	f    *os.File
	size int64
}

func openAppend(path string) (*appender, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, full(err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &appender{f, size}, nil
}

func (a *appender) add(record []byte) error {
	if a == nil || a.f == nil {
		return fmt.Errorf("the journal is closed: %w", os.ErrClosed)
	}
	if _, err := a.f.WriteAt(record, a.size); err != nil {
		return full(errors.Join(err, a.f.Truncate(a.size))) // the error names the file
	}
	a.size += int64(len(record))
	return nil
}

func (a *appender) sync() error { return full(a.f.Sync()) }

func (a *appender) close() error {
	if a == nil || a.f == nil {
		return nil
	}
	err := a.f.Close()
	a.f = nil
	return full(err)
}

// writeWhole puts a file in place so that it is the old one or the new one at
// any moment.
func writeWhole(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return full(err)
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644))
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name()) //nolint:errcheck // what failed before is what matters
		return full(err)
	}
	return full(syncDir(filepath.Dir(path)))
}
