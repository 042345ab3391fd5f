#!/usr/bin/env python3
"""Writes the PrometheusRule of deploy/k8s from the rules in deploy/monitoring, which are where they are changed.

A test compares the two.
"""

from __future__ import annotations

from pathlib import Path

import yaml

_DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = (_DEPLOY / "monitoring" / "recording-rules.yaml", _DEPLOY / "monitoring" / "alerts.yaml")
TARGET = _DEPLOY / "k8s" / "components" / "servicemonitor" / "prometheusrule.yaml"


def prometheus_rule() -> str:
    """Return the object with the groups of all files."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "dsm-stt", "labels": {"app.kubernetes.io/name": "dsm-stt"}},
        "spec": {"groups": groups},
    }
    text = yaml.safe_dump(rule, sort_keys=False, allow_unicode=True, width=120)
    return f"# Written by scripts/write_prometheus_rule.py from deploy/monitoring; change it there.\n{text}"


if __name__ == "__main__":
    TARGET.write_text(prometheus_rule(), encoding="utf-8")
