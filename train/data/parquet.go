package data

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"github.com/parquet-go/parquet-go"
)

// readParquet reads rows, a hundred at a time.
func readParquet(name string, yield func(*Record, error) bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var file *parquet.File
	err = guarded(func() (err error) {
		file, err = parquet.OpenFile(f, info.Size())
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: not a Parquet file: %w", name, err)
	}
	row := 0
	for _, group := range file.RowGroups() {
		more, err := readGroup(name, group, &row, yield)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// guarded makes errors of the panics that damaged files cause in the library.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	return f()
}

func readGroup(name string, group parquet.RowGroup, row *int, yield func(*Record, error) bool) (more bool, err error) {
	rows := group.Rows()
	defer rows.Close()
	buf := make([]parquet.Row, 100)
	for ended := false; !ended; {
		var values []any
		err := guarded(func() error {
			n, err := rows.ReadRows(buf)
			if ended = errors.Is(err, io.EOF); err != nil && !ended {
				return err
			}
			for _, r := range buf[:n] {
				var v any
				if err := group.Schema().Reconstruct(&v, r); err != nil {
					return err
				}
				values = append(values, plainValue(v))
			}
			return nil
		})
		if err != nil {
			return false, fmt.Errorf("%s, behind row %d: %w", name, *row, err)
		}
		for _, v := range values {
			*row++
			if !yield(&Record{File: name, Place: fmt.Sprintf("row %d", *row), Value: v}, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// plainValue is a value in the types that JSON has here; bytes are text.
func plainValue(v any) any {
	switch v := v.(type) {
	case nil, string, bool:
		return v
	case []byte:
		return string(v)
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer, reflect.Interface:
		if r.IsNil() {
			return nil
		}
		return plainValue(r.Elem().Interface())
	case reflect.Map:
		m := make(map[string]any, r.Len())
		for k, e := range r.Seq2() {
			m[fmt.Sprint(k.Interface())] = plainValue(e.Interface())
		}
		return m
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = plainValue(r.Index(i).Interface())
		}
		return list
	}
	return v
}
