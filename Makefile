# cfbuild: see README.md. The two commands a fresh machine needs are
# "make demo" and "make test"; each installs what is missing, after saying what.

TAGS  := containers_image_openpgp,exclude_graphdriver_btrfs
GO    ?= go
export GOFLAGS := -buildvcs=false -tags=$(TAGS)
export CGO_ENABLED := 1

.PHONY: build demo test bench setup setup-test sidebyside vet clean

build:
	$(GO) build -o bin/cfbuild ./cmd/cfbuild

setup:
	@scripts/setup run

setup-test:
	@scripts/setup test

# The main job on real input: debian12 for two architectures, from this machine's
# own package mirror, nothing pulled from a registry.
demo: setup build
	bin/cfbuild run debian12 --platform linux/amd64,linux/arm64 --site host

test: setup-test
	scripts/test

vet:
	$(GO) vet ./...
	GOFLAGS=-buildvcs=false CGO_ENABLED=0 $(GO) vet ./...

# Ratios against peers from Debian's packages, in one run.
bench: setup-test build
	scripts/bench

# Every library this module uses or will use compiles beside the others.
sidebyside:
	$(GO) build -tags=$(TAGS),cfbuild_sidebyside ./internal/sidebyside

clean:
	rm -rf bin out
