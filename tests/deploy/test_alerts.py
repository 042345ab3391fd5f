"""The alerts on Kubernetes are those of deploy/monitoring, and each has an entry in the documentation."""

from __future__ import annotations

import runpy

import pytest
import yaml

from tests.deploy.renderings import K8S, REPOSITORY, Rendering

ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]


def test_the_prometheus_rule_has_the_rules_of_monitoring() -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "write_prometheus_rule.py"))
    written = (K8S / "components" / "servicemonitor" / "prometheusrule.yaml").read_text()
    assert written == script["prometheus_rule"](), "run scripts/write_prometheus_rule.py"
    rendered = Rendering("dev", ("servicemonitor",)).render().get("PrometheusRule", "dsm-stt")
    names = [rule["alert"] for group in rendered["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert names == ALERTS


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_line(alert: str) -> None:
    text = (REPOSITORY / "docs" / "kubernetes.md").read_text()
    assert f"| [{alert}](observability.md#{alert.lower()}) |" in text
    assert f"\n### {alert}\n" in (REPOSITORY / "docs" / "observability.md").read_text()
