#!/usr/bin/env bash
# Writes the package's stubs from the repository's speech.proto. `make stubs` calls it; a test compares its output with
# what is committed. Usage: clients/python/generate_stubs.sh [OUTPUT_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-clients/python/src/dsm_stt_client/proto}"
python="${PYTHON:-.venv/bin/python}"
PATH="$(cd "$(dirname "$python")" && pwd):$PATH"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$python" -m grpc_tools.protoc -Iproto --python_out="$work" --grpc_python_out="$work" --mypy_out=quiet:"$work" \
  --mypy_grpc_out=quiet:"$work" proto/dsm_stt/speech/v1/speech.proto
# The files stay in the package: a module dsm_stt of its own could meet the service's.
for file in "$work"/dsm_stt/speech/v1/speech_pb2*; do
  sed -e 's/from dsm_stt\.speech\.v1 import speech_pb2/from dsm_stt_client.proto import speech_pb2/' "$file" \
    >"$out/$(basename "$file")"
done
