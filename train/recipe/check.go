package recipe

import (
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// limits checks a value against the tags of its field:
//
//	oneof:"a b"   one of these words
//	min max       at least, at most
//	above below   more than, less than
//	regexp        a regular expression
//	file          a file or folder that is there
func (d *decoder) limits(line int, v reflect.Value, path string, tag reflect.StructTag) {
	if v.Kind() == reflect.String {
		d.words(line, v.String(), path, tag)
		return
	}
	x, ok := number(v)
	if !ok {
		return
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		d.add(line, "%s is %v, and should be a finite number", path, v)
		return
	}
	for _, l := range []struct {
		tag, says string
		holds     func(x, y float64) bool
	}{
		{"min", "at least", func(x, y float64) bool { return x >= y }},
		{"max", "at most", func(x, y float64) bool { return x <= y }},
		{"above", "more than", func(x, y float64) bool { return x > y }},
		{"below", "less than", func(x, y float64) bool { return x < y }},
	} {
		text := tag.Get(l.tag)
		if bound, err := strconv.ParseFloat(text, 64); err == nil && !l.holds(x, bound) {
			d.add(line, "%s is %v, and should be %s %s", path, v, l.says, text)
		}
	}
}

func number(v reflect.Value) (float64, bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

func (d *decoder) words(line int, s, path string, tag reflect.StructTag) {
	if allowed := strings.Fields(tag.Get("oneof")); len(allowed) > 0 && !slices.Contains(allowed, s) {
		d.add(line, "%s is %q, and should be one of %s", path, s, strings.Join(allowed, ", "))
	}
	if tag.Get("regexp") != "" {
		if _, err := regexp.Compile(s); err != nil {
			d.add(line, "%s: %v", path, err)
		}
	}
	if tag.Get("file") != "" && s != "" {
		d.file(line, s, path)
	}
}

func (d *decoder) file(line int, s, path string) {
	if _, err := os.Stat(s); err != nil {
		d.add(line, "%s: %q is not there (paths are relative to the working directory)", path, s)
	}
}
