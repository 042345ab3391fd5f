#!/usr/bin/env bash
# Makes .venv with everything the locks name and the project itself, editable. `make setup` calls it.
# Needs nothing but Python 3.11 or 3.12 with pip. PYTHON=… chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    if fits "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "dsm-stt needs Python 3.11 or 3.12; found $("${PYTHON:-python3}" -V 2>&1 || true)." >&2
  echo "Install one of them, or name it: make setup PYTHON=/path/to/python3.12" >&2
  return 1
}

if [ -e "$venv" ] && ! fits "$venv/bin/python"; then
  echo "$venv has no Python 3.11 or 3.12 in it. Remove it first: make clean-venv" >&2
  exit 1
fi
if [ ! -e "$venv" ]; then
  python=$(find_python)
  if ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    echo "$python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
  fi
fi

# pip checks the hashes of uv, uv those of everything else. The project's own build needs only what the lock has.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}" # the wheels of torch are large
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r requirements/all.lock
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
