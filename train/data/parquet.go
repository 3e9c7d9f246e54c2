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
func readParquet(name string, yield func(*Record, error) bool) (err error) {
	// The library panics on some damaged files instead of returning an error.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: a damaged Parquet file: %v", name, r)
		}
	}()
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file, err := parquet.OpenFile(f, info.Size())
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

func readGroup(name string, group parquet.RowGroup, row *int, yield func(*Record, error) bool) (more bool, err error) {
	rows := group.Rows()
	defer rows.Close()
	schema := group.Schema()
	buf := make([]parquet.Row, 100)
	for {
		n, err := rows.ReadRows(buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("%s, row %d: %w", name, *row+1, err)
		}
		for _, values := range buf[:n] {
			*row++
			r := &Record{File: name, Place: fmt.Sprintf("row %d", *row)}
			var v any
			if err := schema.Reconstruct(&v, values); err != nil {
				return false, fmt.Errorf("%s, %s: %w", name, r.Place, err)
			}
			r.Value = plainValue(v)
			if !yield(r, nil) {
				return false, nil
			}
		}
		if err != nil {
			return true, nil
		}
	}
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
