# `make` alone lists the targets. Everything that is built goes to out/.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export CGO_ENABLED := 0
GOBUILD := go build -trimpath -buildvcs=false

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing (Debian 12 or newer, as root)
	@scripts/setup.sh

build: ## our programs, into out/bin
	@mkdir -p out/bin && echo '*' > out/.gitignore
	$(GOBUILD) -o out/bin/ $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...)

image: ## kernel and initramfs of a box, into out/image
	go run ./image/cmd/mkimage

run: setup build image ## boot a box in QEMU: make keys, encrypt three drives, compare encrypted with plain I/O
	out/bin/firstrun

node: build ## start a node on two 256 MiB files and say which qq commands to try
	@scripts/try-node

bench: build ## compare encrypted with plain I/O here: on TARGET=<file or block device>, else on a new file of 1 GiB; more flags in BENCH=
	out/bin/sealbench run $(if $(TARGET),--target '$(TARGET)') $(BENCH)

test: setup build image ## every check and every test, privileged ones and those in QEMU included
	out/bin/testall

test-vm: build image ## only the tests that need the box's own kernel, or the oldest one for the probes
	out/bin/testall -only vm,image-6.1,vm-6.1

lint: ## only go vet and the rules of the house
	go vet ./... && go test -count=1 ./scripts/lint

clean: ## remove what was built
	rm -rf out

.PHONY: help setup build image run node bench test test-vm lint clean
.NOTPARALLEL:
