#!/usr/bin/env bash
# Writes the Python stubs beside their .proto files. `make stubs` calls it; a test compares its output with what is committed.
# Usage: scripts/generate_stubs.sh [OUTPUT_FOLDER]   (default: proto)
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-proto}"
python="${PYTHON:-.venv/bin/python}"
PATH="$(cd "$(dirname "$python")" && pwd):$PATH"
mapfile -t files < <(find proto -name '*.proto' | sort)
"$python" -m grpc_tools.protoc -Iproto \
  --python_out="$out" --grpc_python_out="$out" --mypy_out=quiet:"$out" --mypy_grpc_out=quiet,only_async:"$out" "${files[@]}"
