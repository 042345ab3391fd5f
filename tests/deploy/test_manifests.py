"""Every overlay, alone and with every component, is what it should be."""

from __future__ import annotations

import pytest

from tests.deploy.checks import CHECKS, Check
from tests.deploy.renderings import ALWAYS, BUILT_IN, COMPONENTS, OVERLAYS, Rendering, renderings


@pytest.mark.parametrize("rendering", renderings(), ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_rendering(check: Check, rendering: Rendering) -> None:
    assert check(rendering.render()) == []


def test_every_component_and_overlay_is_among_them() -> None:
    assert set(OVERLAYS) == set(BUILT_IN)
    parts = {component for component in COMPONENTS if "/" in component}
    assert {*ALWAYS, "hpa", "keda"} == set(COMPONENTS) - parts


@pytest.mark.parametrize("overlay", [overlay for overlay in OVERLAYS if overlay.startswith("prod-")])
def test_workers_have_gpus_in_production(overlay: str) -> None:
    manifests = Rendering(overlay).render()
    for worker in (*manifests.workloads("codec"), *manifests.workloads("lm")):
        limits = worker["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == "1", worker["metadata"]["name"]


def test_one_gateway_serves_both_models() -> None:
    manifests = Rendering("prod-both").render()
    models = [
        manifests.environment(worker["spec"]["template"]["spec"]["containers"][0])["DSM_LM_MODEL"]
        for worker in manifests.workloads("lm")
    ]
    assert models == ["stt-1b-en_fr", "stt-2.6b-en"]
