#!/usr/bin/env bash
# Writes the Go stubs of the public API. `make stubs-go` calls it; `make client-go` compares its output with what is committed.
# Usage: scripts/generate_go_stubs.sh [OUTPUT_FOLDER]   (default: clients/go)
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-clients/go}"
python="${PYTHON:-.venv/bin/python}"
plugins="$PWD/build/go-tools"
# The versions are pinned in clients/go/tools/go.mod, a module of its own so that callers do not inherit them.
GOBIN="$plugins" go -C clients/go/tools install tool
"$python" -m grpc_tools.protoc -Iproto \
  --plugin="$plugins/protoc-gen-go" --go_out="$out" --go_opt=module=github.com/dsm-stt/dsm-stt/clients/go \
  --plugin="$plugins/protoc-gen-go-grpc" --go-grpc_out="$out" --go-grpc_opt=module=github.com/dsm-stt/dsm-stt/clients/go \
  proto/dsm_stt/speech/v1/speech.proto
