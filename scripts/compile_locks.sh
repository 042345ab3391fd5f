#!/usr/bin/env bash
# Writes requirements/*.lock from pyproject.toml: every version and hash, no index addresses. `make lock` calls it.
# Versions already locked stay; extra arguments go to uv, e.g. --upgrade, or --upgrade-package grpcio.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-.venv/bin/uv}"

compile() {
  local lock=$1
  shift
  "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" --output-file "requirements/$lock.lock" "$@"
}

compile bootstrap "$@" requirements/bootstrap.in
compile all "$@" --all-extras pyproject.toml
# What builds the wheel in the images.
compile build "$@" --constraint requirements/all.lock requirements/build.in
# The services' images install the versions that were tested together.
for service in gateway codec lm; do
  compile "$service" --constraint requirements/all.lock --extra "$service" pyproject.toml
done
# A linter with dependencies of its own.
compile checkov "$@" requirements/checkov.in
# A toolchain for machines that have none.
compile go "$@" requirements/go.in
