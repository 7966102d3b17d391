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

vm-test: build image ## the tests that need the box's own kernel, in QEMU
	go test -tags vm -p 1 -count=1 -run '^TestVM' -exec '$(CURDIR)/out/bin/vmrun -pack cryptsetup' $$(git grep -l '^//go:build vm' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|')

clean: ## remove what was built
	rm -rf out

.PHONY: help setup build image run node bench vm-test clean
