#!/usr/bin/env bash
# Builds the images and says how long it took and how large they are. `make images` calls it.
# Usage: scripts/build_images.sh [TARGET…]     targets of deploy/docker/Dockerfile; default: gateway codec-cpu lm-cpu
#
# DSM_STT_TAG (default latest), PYTHON_IMAGE (the base, default that of the Dockerfile), BUILD_NETWORK (host: that of
# the machine). This machine's pip.conf, uv.toml and CA bundle are handed to the build as secrets, which no image keeps.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- gateway codec-cpu lm-cpu
tag=${DSM_STT_TAG:-latest}

docker info > /dev/null 2>&1 || {
  echo "No Docker daemon answers${DOCKER_HOST:+ at $DOCKER_HOST}. make images starts one of its own" >&2
  exit 1
}

options=(--build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)")
options+=(--build-arg "REVISION=$(git rev-parse HEAD 2> /dev/null || echo unknown)")
[ -z "${PYTHON_IMAGE:-}" ] || options+=(--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE")
[ -z "${BUILD_NETWORK:-}" ] || options+=(--network "$BUILD_NETWORK")

secret() { # NAME FILE…: the first of the files that there is
  local name=$1 file
  shift
  for file in "$@"; do
    if [ -n "$file" ] && [ -r "$file" ]; then
      options+=(--secret "id=$name,src=$file")
      return
    fi
  done
}
secret pip_conf "${PIP_CONFIG_FILE:-}" "$HOME/.config/pip/pip.conf" /etc/pip.conf
secret uv_toml "${UV_CONFIG_FILE:-}" "$HOME/.config/uv/uv.toml" /etc/uv/uv.toml
secret ca_bundle "${SSL_CERT_FILE:-}"

for target in "$@"; do
  case $target in
    *-cpu) name=ghcr.io/dsm-stt/dsm-stt-${target%-cpu}:$tag-cpu ;;
    *) name=ghcr.io/dsm-stt/dsm-stt-$target:$tag ;;
  esac
  began=$SECONDS
  log=$(mktemp)
  if ! DOCKER_BUILDKIT=1 docker build --progress plain --file deploy/docker/Dockerfile --target "$target" --tag "$name" \
    "${options[@]}" . > "$log" 2>&1; then
    tail -40 "$log" >&2
    rm -f "$log"
    echo "building $target failed" >&2
    exit 1
  fi
  rm -f "$log"
  bytes=$(docker image inspect --format '{{.Size}}' "$name")
  printf '%-45s %5d MB  %4d s\n' "$name" $((bytes / 1000000)) $((SECONDS - began))
done
