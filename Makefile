# Two commands matter: make demo, make test.
.PHONY: build demo demo-reset test check e2e fuzz bench deps

build:
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -o bin/pli ./cmd/pli

demo:
	@bash scripts/demo.sh

demo-reset:
	@bash scripts/demo-reset.sh

# Installs what the tests need (Debian, root), then runs everything.
test:
	@bash scripts/test.sh

# Fast checks: format, vet, floors, generated files.
check:
	@bash scripts/check.sh

e2e: build
	PLI_E2E=1 go test -count=1 -timeout 15m ./e2e/...

# Each fuzz target for a short while. FUZZTIME=1m make fuzz for longer.
fuzz:
	@bash scripts/fuzz.sh

bench: build
	@bash bench/bench.sh

deps:
	@bash scripts/ci-deps.sh
