#!/usr/bin/env bash
# Builds the CPU images, starts them with compose and tests them; `make images` calls it after `make setup`.
# Without a Docker daemon it starts one of its own for as long as it takes (scripts/with_private_docker.sh: root, Debian).
# Extra arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! docker info > /dev/null 2>&1; then
  [ -z "${DOCKER_HOST:-}" ] || { echo "No Docker daemon answers at DOCKER_HOST=$DOCKER_HOST" >&2; exit 1; }
  echo "No Docker daemon answers here: starting one for this run."
  exec scripts/with_private_docker.sh "$0" "$@"
fi
began=$SECONDS
export DSM_STT_TAG=${DSM_STT_TAG:-test}
scripts/build_images.sh
.venv/bin/python -m pytest -q -m images tests/images "$@"
echo "images: built and tested in $((SECONDS - began)) s"
