package recipe

import (
	"fmt"
	"strconv"
	"strings"
)

// UnmarshalText reads a number or auto.
func (a *Auto) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*a = 0
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return fmt.Errorf("%q should be auto or a whole number from 1", text)
	}
	*a = Auto(n)
	return nil
}

// MarshalText is a number or auto.
func (a Auto) MarshalText() ([]byte, error) {
	if a == 0 {
		return []byte("auto"), nil
	}
	return []byte(strconv.Itoa(int(a))), nil
}

// maxDevices is far more than one host has.
const maxDevices = 1 << 20

// UnmarshalText reads axes such as data=4,model=2.
func (l *Layout) UnmarshalText(text []byte) error {
	*l = Layout{1, 1, 1}
	axes := map[string]*int{"data": &l.Data, "fsdp": &l.FSDP, "model": &l.Model}
	for axis := range strings.SplitSeq(string(text), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(axis), "=")
		at, ok := axes[strings.TrimSpace(name)]
		if !ok {
			return fmt.Errorf("%q should be axes such as data=4,model=2, each of data, fsdp and model at most once", text)
		}
		delete(axes, strings.TrimSpace(name))
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < 1 || n > maxDevices {
			return fmt.Errorf("axis %s is %q, and should be a whole number from 1", name, value)
		}
		*at = n
	}
	return nil
}

// MarshalText names the axes that are more than one device.
func (l Layout) MarshalText() ([]byte, error) {
	var axes []string
	for _, a := range []struct {
		name string
		n    int
	}{{"data", l.Data}, {"fsdp", l.FSDP}, {"model", l.Model}} {
		if a.n > 1 || a.name == "data" && l.Count() == 1 {
			axes = append(axes, a.name+"="+strconv.Itoa(a.n))
		}
	}
	return []byte(strings.Join(axes, ",")), nil
}
