package plugin

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// elfLibrary is the least that debug/elf takes for a library with one symbol.
func elfLibrary(symbol string) []byte {
	names := "\x00" + symbol + "\x00"
	const head, symbols = 64, 64 + 48 // after the header two symbols of 24 bytes, then names
	table := symbols + (len(names)+7)/8*8
	var b bytes.Buffer
	w := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(elfMachines[runtime.GOARCH]), Version: 1,
		Shoff: uint64(table), Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	w(h)
	w(elf.Sym64{})
	w(elf.Sym64{Name: 1, Info: byte(elf.STB_GLOBAL)<<4 | byte(elf.STT_FUNC), Shndx: 1})
	b.WriteString(names)
	b.Write(make([]byte, table-b.Len()))
	w(elf.Section64{})
	w(elf.Section64{Type: uint32(elf.SHT_DYNSYM), Off: head, Size: 48, Link: 2, Info: 1, Entsize: 24})
	w(elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: symbols, Size: uint64(len(names))})
	return b.Bytes()
}

// peLibrary is a 64-bit DLL of one section, which holds an export directory.
func peLibrary(symbol string) []byte {
	const rva, raw = 0x1000, 0x200
	b := make([]byte, 0x400)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	le.PutUint16(b[0x44:], 0x8664)   // machine
	le.PutUint16(b[0x46:], 1)        // sections
	le.PutUint16(b[0x54:], 240)      // size of the optional header
	le.PutUint16(b[0x58:], 0x20b)    // PE32+
	le.PutUint32(b[0x58+108:], 16)   // data directories
	le.PutUint32(b[0x58+112:], rva)  // the first is the exports'
	section := b[0x58+240:]          //
	copy(section, ".edata")          //
	le.PutUint32(section[8:], 0x200) // virtual size
	le.PutUint32(section[12:], rva)
	le.PutUint32(section[16:], 0x200)
	le.PutUint32(section[20:], raw)
	le.PutUint32(b[raw+24:], 1)      // names
	le.PutUint32(b[raw+32:], rva+40) // table of their addresses
	le.PutUint32(b[raw+40:], rva+44)
	copy(b[raw+44:], symbol+"\x00")
	return b
}

func TestExports(t *testing.T) {
	for _, c := range []struct {
		format string
		bytes  []byte
	}{{"ELF", elfLibrary(entry)}, {"PE", peLibrary(entry)}} {
		path := filepath.Join(t.TempDir(), "library")
		write(t, path, c.bytes)
		format, symbols, err := exports(path)
		if err != nil || format != c.format || len(symbols) != 1 || symbols[0] != entry {
			t.Errorf("%s: %s %q %v", c.format, format, symbols, err)
		}
	}
}

func TestCheckLibrary(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the libraries here are Linux's")
	}
	other := elfLibrary(entry)
	other[18] = byte(elf.EM_RISCV)
	for _, c := range []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"a plugin", elfLibrary(entry), ""},
		{"another library", elfLibrary("Other"), "no PJRT plugin: it exports no GetPjrtApi"},
		{"another processor's", other, "another processor"},
		{"another system's", peLibrary(entry), "it is PE, and linux loads ELF"},
		{"text", []byte("no library"), "neither ELF nor Mach-O nor PE"},
		{"nothing", nil, "shorter"},
		{"a cut library", elfLibrary(entry)[:100], "no shared library"},
	} {
		path := filepath.Join(t.TempDir(), "library.so")
		write(t, path, c.bytes)
		err := checkLibrary(path)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := checkLibrary(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzExports: no file may crash what reads libraries.
func FuzzExports(f *testing.F) {
	f.Add(elfLibrary(entry))
	f.Add(peLibrary(entry))
	path := filepath.Join(f.TempDir(), "library")
	f.Fuzz(func(t *testing.T, b []byte) {
		write(t, path, b)
		_, _, _ = exports(path)
	})
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
