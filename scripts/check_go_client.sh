#!/usr/bin/env bash
# Checks clients/go: format, vet, freshness of the stubs, tests against fakes and against the real service.
# `make client-go` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(gofmt -l clients/go)
if [ -n "$unformatted" ]; then
  echo "gofmt would change: $unformatted" >&2
  exit 1
fi
go -C clients/go vet -tags service ./...

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
scripts/generate_go_stubs.sh "$fresh"
diff -r "$fresh/gen" clients/go/gen || { echo "the Go stubs are not those of the proto files: make stubs-go" >&2; exit 1; }

.venv/bin/python scripts/with_stack.py go -C clients/go test -count=1 -tags service ./...
