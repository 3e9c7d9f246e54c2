package plugin

import (
	"cmp"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

const entry = "GetPjrtApi"

// formats are the library formats of systems; all others use ELF.
var formats = map[string]string{"darwin": "Mach-O", "windows": "PE"}

// checkLibrary tells whether a file is a shared library, for a machine like
// this one, that exports PJRT's entry.
func checkLibrary(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is no file; give the path of a PJRT plugin (.so, .dylib or .dll)", path)
	}
	format, symbols, err := exports(path)
	if want := cmp.Or(formats[runtime.GOOS], "ELF"); err == nil && format != want {
		err = fmt.Errorf("it is %s, and %s loads %s", format, runtime.GOOS, want)
	}
	if err != nil {
		return fmt.Errorf("%s is no shared library for this machine: %w; give the path of a PJRT plugin", path, err)
	}
	if !slices.Contains(symbols, entry) {
		return fmt.Errorf("%s is a shared library but no PJRT plugin: it exports no %s", path, entry)
	}
	return nil
}

// exports lists the symbols that a library shows to others.
func exports(path string) (format string, symbols []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err != nil {
		return "", nil, errors.New("it is shorter than any")
	}
	switch {
	case string(magic) == elf.ELFMAG:
		symbols, err = elfExports(f)
		return "ELF", symbols, err
	case string(magic[:2]) == "MZ":
		symbols, err = peExports(f)
		return "PE", symbols, err
	}
	if m, err := macho.NewFile(f); err == nil {
		return "Mach-O", machoSymbols(m), nil
	}
	if fat, err := macho.NewFatFile(f); err == nil && len(fat.Arches) > 0 {
		return "Mach-O", machoSymbols(fat.Arches[0].File), nil
	}
	return "", nil, errors.New("neither ELF nor Mach-O nor PE")
}

func elfExports(f *os.File) ([]string, error) {
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	if want, ok := elfMachines[runtime.GOARCH]; ok && e.Machine != want {
		return nil, fmt.Errorf("it is for another processor: %v", e.Machine)
	}
	symbols, err := e.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

func machoSymbols(m *macho.File) []string {
	if m.Symtab == nil {
		return nil
	}
	var names []string
	for _, s := range m.Symtab.Syms {
		if s.Sect != 0 && len(s.Name) > 1 {
			names = append(names, s.Name[1:]) // C names have an underscore before them
		}
	}
	return names
}

var elfMachines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// peExports reads the export directory, which debug/pe leaves alone:
// Microsoft's PE format, "The .edata Section".
func peExports(f *os.File) ([]string, error) {
	p, err := pe.NewFile(f)
	if err != nil {
		return nil, err
	}
	o, ok := p.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		return nil, errors.New("it is no 64-bit library")
	}
	at := o.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT].VirtualAddress
	head := peBytes(p, at, 40)
	if head == nil {
		return nil, nil
	}
	count := binary.LittleEndian.Uint32(head[24:])
	table := binary.LittleEndian.Uint32(head[32:])
	var names []string
	for i := range min(count, 1<<16) {
		if b := peBytes(p, table+4*i, 4); b != nil {
			name, _, _ := strings.Cut(string(peBytes(p, binary.LittleEndian.Uint32(b), len(entry)+1)), "\x00")
			names = append(names, name)
		}
	}
	return names, nil
}

// peBytes reads n bytes at an address of the loaded library, nil where it has none.
func peBytes(p *pe.File, at uint32, n int) []byte {
	for _, s := range p.Sections {
		if at < s.VirtualAddress || at-s.VirtualAddress >= s.Size {
			continue
		}
		b := make([]byte, n)
		if _, err := s.ReadAt(b, int64(at-s.VirtualAddress)); err != nil {
			return nil
		}
		return b
	}
	return nil
}
