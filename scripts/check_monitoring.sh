#!/usr/bin/env bash
# Checks rules and alerts with promtool, which comes with Prometheus. `make monitoring` calls it. PROMTOOL=… names another.
set -euo pipefail
cd "$(dirname "$0")/../deploy/monitoring"
promtool="${PROMTOOL:-promtool}"
if ! command -v "$promtool" >/dev/null; then
  echo "promtool is not installed: it comes with Prometheus (Debian and Ubuntu: apt-get install prometheus)," >&2
  echo "or name it: PROMTOOL=/path/to/promtool make monitoring" >&2
  exit 1
fi
"$promtool" check rules recording-rules.yaml alerts.yaml
"$promtool" test rules alerts_test.yaml
