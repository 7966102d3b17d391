# `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export CGO_ENABLED := 0
GOBUILD := go build -trimpath

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: help
