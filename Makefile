# Every task of the project; bare `make` lists them. Nothing here needs more than Go, make, git and, for
# tests under the race detector, a C compiler.

SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   := $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || echo unknown)
BUILT    := $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.built=$(BUILT)
BIN      := bin
FUZZTIME ?= 30s
TORTURE_FOR ?= 20m
FLAKE_RUNS ?= 10
SOAK_FOR ?= 1h
# What is random in tests follows from one seed, which a failing test prints: `make test SEED=N` repeats it.
SEED ?=
ifneq ($(SEED),)
export RAPID_SEED := $(SEED)
endif

# go test runs as many packages at once as there are cores: as much as the real servers of the suite can bear.
TEST := go test -race -count=1 -timeout 20m

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

build: ## build bin/forebay and bin/forebay-load: static, without cgo, the same bytes from the same commit
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/forebay ./cmd/forebay-load

# On a terminal the demo runs in a process group of its own, so that Ctrl-C, which is how it ends, does not reach make
# and the demo's status is make's. Elsewhere it takes the place of the recipe's shell, to be sent what make is sent.
run_demo = if [ -t 0 ]; then set -m; bin/demo $(1); exit $$?; else exec bin/demo $(1); fi

demo: build ## run a node with everything embedded and watch sample events pass through it
	@go build -o bin/demo ./cmd/internal/demo
	@$(call run_demo)

demo-full: build deps-if-root ## the same with real ClickHouse, PostgreSQL and a Session Manager process
	@go build -o bin/demo ./cmd/internal/demo
	@$(call run_demo,--full)

test: deps-if-root ## run all tests under the race detector
	@# Compiled here, so that no test waits for it on a machine that has built nothing yet.
	@CGO_ENABLED=0 go build -o /dev/null ./shipper/clickhouse/clickhousetest/gateway
	$(TEST) ./...

check: ## format, tidy, vet, staticcheck, cross-builds and all tests: what .ci/run runs
	@for stage in format tidy vet staticcheck cross test; do \
		begun=$$SECONDS; echo "== $$stage"; \
		$(MAKE) --no-print-directory $$stage || { echo "== $$stage failed after $$((SECONDS - begun)) s"; exit 1; }; \
		echo "== $$stage passed in $$((SECONDS - begun)) s"; \
	done

format: ## name the files that gofmt would change
	@files=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r gofmt -l) || exit 1; \
	if [ -n "$$files" ]; then echo "gofmt would change (run gofmt -w on them):"; echo "$$files"; exit 1; fi

tidy: ## name what go mod tidy would change
	go mod tidy -diff

vet: ## go vet
	go vet ./...

staticcheck: ## staticcheck, at the version go.mod names
	go tool staticcheck ./...

cross: ## build for linux/amd64, linux/arm64 and darwin/arm64, without cgo
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go build ./...

bench: ## run the benchmarks, each beside the ceiling of the same run, and end with one table
	go test -run '^$$' -bench . -count=1 -p 1 -timeout 60m ./... | go run ./cmd/internal/benchtable

torture: deps-if-root ## 50 kills of a node and of a receiver, a start on a backlog of 10 GB, then break a whole node at random for TORTURE_FOR (default 20m); SEED=N repeats its decisions
	FOREBAY_TORTURE=1 go test -race -count=1 -timeout 1h -run '^(TestAcceptedEventsSurviveKills|TestKills|TestStartOnABacklog)$$' ./cmd/forebay ./cmd/forebay-load
	TORTURE_FOR=$(TORTURE_FOR) go test -race -count=1 -timeout 24h -v -run '^TestTorture$$' ./cmd/forebay

sweeps: deps-if-root ## the long forms of the other crash and fault tests (an hour or more)
	FOREBAY_TORTURE=1 go test -race -count=1 -p 1 -timeout 6h ./...

soak: deps-if-root ## half of the full rate for SOAK_FOR (default 1h); fails if anything grows
	SOAK_FOR=$(SOAK_FOR) go test -count=1 -timeout 24h -v -run '^TestSoak$$' ./cmd/forebay

flakes: deps-if-root ## run the whole suite FLAKE_RUNS times (default 10) in random order, half of them beside busy loops, and end with a table
	.ci/flakes $(FLAKE_RUNS)

fuzz: ## fuzz every parser in turn, FUZZTIME each (default 30s)
	@grep -rlE '^func Fuzz' --include='*_test.go' cmd node wal shipper router | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		for name in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go | cut -d' ' -f2); do \
			echo "$$dir $$name"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) ./$$dir || exit 1; \
		done; \
	done

deps: ## install what the tests start: ClickHouse, PostgreSQL and others (as root on Debian)
	.ci/deps

# Tests say themselves what they miss, so a failed install does not keep the others from running.
deps-if-root:
	@.ci/deps --if-root || echo "Some tests will skip (or fail, if CI is set) for what is named above."

clean: ## remove what build and the demos leave (the installed engine in .cache stays)
	rm -rf bin .demo

.PHONY: help build demo demo-full test check format tidy vet staticcheck cross bench torture sweeps soak flakes fuzz deps deps-if-root clean
