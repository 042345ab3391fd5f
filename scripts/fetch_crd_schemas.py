#!/usr/bin/env python3
"""Writes tests/deploy/crds/*.json: the schemas of the custom resources in deploy/k8s, from their projects' releases.

Needs Go, whose module proxy has the releases. Descriptions are left out, and what a schema does not name is refused, so
that a misspelt field is an error. Run it to take newer versions, and commit what it writes.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

_TARGET = Path(__file__).parents[1] / "tests" / "deploy" / "crds"
_SOURCES = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "github.com/kedacore/keda/v2@v2.20.2": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
    "github.com/cert-manager/cert-manager@v1.21.2": (
        "deploy/crds/cert-manager.io_certificates.yaml",
        "deploy/crds/cert-manager.io_issuers.yaml",
    ),
    "sigs.k8s.io/gateway-api@v1.6.3": ("config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",),
}


def strict(schema: Any) -> Any:
    """Return a schema without descriptions that refuses unknown fields, as `kubectl apply --validate=strict` does."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        # A property may be called "description", too.
        key: {name: strict(value) for name, value in item.items()} if key == "properties" else strict(item)
        for key, item in schema.items()
        if (key != "description" or not isinstance(item, str)) and not key.startswith("x-")
    }
    if isinstance(kept.get("pattern"), str):
        # Patterns are Go's; Python wants flags in front.
        kept["pattern"] = kept["pattern"].replace("^(?i)", "(?i)^")
    if "properties" in kept and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
    return kept


def main() -> None:
    """Download every source and write its schemas."""
    _TARGET.mkdir(parents=True, exist_ok=True)
    for source, files in _SOURCES.items():
        command = ["go", "mod", "download", "-json", source]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)  # the Go of the PATH
        folder = Path(json.loads(answer.stdout)["Dir"])
        for file in files:
            definition = yaml.safe_load((folder / file).read_text(encoding="utf-8"))["spec"]
            kind = definition["names"]["kind"]
            for version in definition["versions"]:
                if not version["served"]:
                    continue
                schema = strict(version["schema"]["openAPIV3Schema"])
                # Every object's; its content is checked with the schemas of Kubernetes.
                schema["properties"]["metadata"] = {"type": "object"}
                schema["$comment"] = f"From {source}, {file}; Apache-2.0."
                name = f"{definition['group']}_{version['name']}_{kind}.json"
                (_TARGET / name).write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
