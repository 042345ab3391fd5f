#!/usr/bin/env bash
# Runs livekit_check.py with the real livekit-agents, in an environment of its own. `make client-livekit` calls it.
# LIVEKIT_VENV=… keeps that environment for the next time.
set -euo pipefail
cd "$(dirname "$0")/../.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
venv="${LIVEKIT_VENV:-$work/venv}"
[ -x "$venv/bin/python" ] || .venv/bin/python -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "./clients/python[livekit]"
.venv/bin/python - "$venv/bin/python" <<'PYTHON'
import subprocess, sys
from services.cli.local_stack import LocalStack

with LocalStack("dsm-tiny-en") as stack:
    command = [sys.argv[1], "clients/python/livekit_check.py", stack.address, "models/dsm-tiny-en/samples/digits.wav"]
    sys.exit(subprocess.run(command, check=False).returncode)
PYTHON
