package picture

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed" // of the codecs
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

var (
	//go:embed wasm/avif.wasm.gz
	avifWasm []byte
	//go:embed wasm/heif.wasm.gz
	heifWasm []byte

	avifCodec = newCodec(avifWasm)
	heifCodec = newCodec(heifWasm)
)

// A codec is a decoder compiled to WebAssembly. It is compiled to machine code when the first file needs it.
type codec func() (wazero.Runtime, wazero.CompiledModule, error)

func newCodec(compressed []byte) codec {
	type compiled struct {
		runtime wazero.Runtime
		module  wazero.CompiledModule
	}
	once := sync.OnceValues(func() (compiled, error) {
		r, m, err := compile(compressed)
		return compiled{r, m}, err
	})
	return func() (wazero.Runtime, wazero.CompiledModule, error) {
		c, err := once()
		return c.runtime, c.module, err
	}
}

func compile(compressed []byte) (wazero.Runtime, wazero.CompiledModule, error) {
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, nil, err
	}
	code, err := io.ReadAll(z)
	if err != nil {
		return nil, nil, err
	}
	// a picture of 100 million pixels takes about 1 GB while it is decoded
	const pages = 2 << 30 / (64 << 10)
	ctx := context.Background()
	// checking for the end of a context inside of loops was tried: it takes six times as long
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(pages))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, nil, err
	}
	m, err := r.CompileModule(ctx, code)
	return r, m, err
}

// A sandbox is one run of a codec, with a file in its memory. What it returns is as trustworthy as the file.
type sandbox struct {
	module api.Module
	data   uint64 // where the file is
	size   uint64
}

var errSandbox = errors.New("its picture is damaged or has a part that the decoder does not know")

func (c codec) open(data []byte) (*sandbox, error) {
	r, compiled, err := c()
	if err != nil {
		return nil, fmt.Errorf("cannot start the decoder: %w", err)
	}
	// without a name any number of instances can run side by side; without files, clock and output they can do nothing but compute
	m, err := r.InstantiateModule(context.Background(), compiled, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return nil, fmt.Errorf("cannot start the decoder: %w", err)
	}
	s := &sandbox{module: m, size: uint64(len(data))}
	if s.data, err = s.alloc(len(data)); err != nil {
		s.close()
		return nil, err
	}
	if !m.Memory().Write(uint32(s.data), data) {
		s.close()
		return nil, errSandbox
	}
	return s, nil
}

func (s *sandbox) close() { _ = s.module.Close(context.Background()) }

func (s *sandbox) alloc(n int) (uint64, error) {
	got, err := s.module.ExportedFunction("malloc").Call(context.Background(), uint64(n))
	if err != nil || got[0] == 0 {
		return 0, errors.New("it needs more memory than a picture gets: scale it down first")
	}
	return got[0], nil
}

// decode calls the codec with the file and further arguments; it answers 0 when it fails.
func (s *sandbox) decode(args ...uint64) error {
	got, err := s.module.ExportedFunction("decode").Call(context.Background(), append([]uint64{s.data, s.size}, args...)...)
	if err != nil || got[0] == 0 {
		return errSandbox
	}
	return nil
}

func (s *sandbox) numbers(at uint64, n int) ([]uint32, error) {
	out := make([]uint32, n)
	for i := range out {
		v, ok := s.module.Memory().ReadUint32Le(uint32(at) + uint32(4*i))
		if !ok {
			return nil, errSandbox
		}
		out[i] = v
	}
	return out, nil
}

// bytes returns a view that is valid until close.
func (s *sandbox) bytes(at uint64, n int) ([]byte, error) {
	b, ok := s.module.Memory().Read(uint32(at), uint32(n))
	if !ok {
		return nil, errSandbox
	}
	return b, nil
}
