#!/usr/bin/env bash
# Runs checkov, offline, in an environment of its own: its versions do not go with ours.
# Usage: scripts/checkov.sh ARGUMENT…     e.g. --framework dockerfile --file deploy/docker/Dockerfile
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-checkov
if [ ! -e "$venv/.ready" ] || [ requirements/checkov.lock -nt "$venv/.ready" ]; then
  .venv/bin/uv venv --quiet --clear --python .venv/bin/python "$venv"
  .venv/bin/uv pip install --quiet --python "$venv" --require-hashes -r requirements/checkov.lock
  touch "$venv/.ready"
fi
exec "$venv/bin/checkov" --skip-download --quiet --compact "$@"
