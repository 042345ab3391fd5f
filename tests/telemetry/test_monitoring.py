"""Dashboard, rules, alerts and documentation speak of metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.common.telemetry import metrics

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
DOCS = (ROOT / "docs" / "observability.md").read_text()

RECORDED = [
    rule
    for group in yaml.safe_load((MONITORING / "recording-rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
PANELS = [
    panel for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"] if panel["type"] != "row"
]

_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
SERIES = {named.name + suffix for named in metrics.EXPORTED for suffix in _SUFFIXES[named.kind]}
KNOWN = SERIES | {rule["record"] for rule in RECORDED}
_NAME = re.compile(r"(?<![\w:])(?:[a-z_]+:)?dsm_stt_\w+(?::\w+)?")

EXPRESSIONS = [
    *((rule["record"], rule["expr"]) for rule in RECORDED),
    *((rule["alert"], rule["expr"]) for rule in ALERTS),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_what_is_asked_for_is_exported(where: str, expression: str) -> None:
    names = set(_NAME.findall(expression))
    assert names, where
    assert names <= KNOWN


def test_every_metric_is_documented_with_its_kind_and_nothing_else_is() -> None:
    rows = re.findall(r"^\| `(dsm_stt_\w+)` \| (\w+) \|", DOCS, re.MULTILINE)
    assert sorted(rows) == sorted(tuple(named) for named in metrics.EXPORTED)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    assert [named.name for named in metrics.EXPORTED if named.name not in shown] == []


def test_quantiles_on_the_dashboard_lead_to_traces_and_variables_are_used() -> None:
    targets: list[Any] = [target for panel in PANELS for target in panel["targets"]]
    assert all(target["exemplar"] for target in targets if "histogram_quantile" in target["expr"])
    for variable in ("$model", "$service"):
        assert sum(variable in target["expr"] for target in targets) > 5


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_a_runbook_and_a_test(alert: dict[str, Any]) -> None:
    assert alert["annotations"]["runbook_url"].endswith(f"/docs/observability.md#{alert['alert'].lower()}")
    assert f"\n### {alert['alert']}\n" in DOCS
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert f'alertname="{alert["alert"]}"' in (MONITORING / "alerts_test.yaml").read_text()
