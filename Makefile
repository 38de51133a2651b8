# coffer: see README.md. The two commands for a fresh machine are `make demo` and `make test`.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      ?= go
BIN     := $(CURDIR)/bin
TOOLS   := $(BIN)/tools

# What the tests use that is not Go: judges that are not ours, and the
# independent reader's libraries.
PACKAGES := rsync git python3 python3-cryptography python3-zstandard python3-argon2 zstd acl attr btrfs-progs xfsprogs

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ERRCHECK    := github.com/kisielk/errcheck@v1.30.0
INEFFASSIGN := github.com/gordonklaus/ineffassign@v0.2.0

.PHONY: build demo test race lint fuzz bench man packages clean

build: ## bin/coffer
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN)/coffer ./cmd/coffer

demo: build ## the main job on real input, with a repository in a temporary directory
	scripts/demo.sh $(BIN)/coffer

test: packages ## installs what the tests need (Debian, as root) and runs them
	$(GO) test -timeout 20m ./...

race: packages ## the same under the race detector, without the largest inputs
	$(GO) test -race -short -timeout 20m ./...

lint: ## gofmt, vet, staticcheck, errcheck, ineffassign at pinned versions
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt: the files above need it" >&2; exit 1; }
	$(GO) vet ./...
	GOBIN=$(TOOLS) $(GO) install $(STATICCHECK)
	GOBIN=$(TOOLS) $(GO) install $(ERRCHECK)
	GOBIN=$(TOOLS) $(GO) install $(INEFFASSIGN)
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/errcheck -ignoretests -exclude .errcheck ./...
	$(TOOLS)/ineffassign ./...

fuzz: ## every fuzz target for FUZZTIME (default 20s)
	scripts/fuzz.sh $(or $(FUZZTIME),20s)

bench: build ## side by side with the peers that are installed; see docs/benchmarks.md
	PATH=$(BIN):$$PATH scripts/bench.py $(BENCHFLAGS)

man: build ## man pages into bin/man
	$(BIN)/coffer man $(BIN)/man

packages:
	@scripts/packages.sh $(PACKAGES)

clean:
	rm -rf $(BIN)
