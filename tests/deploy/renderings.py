"""What `kubectl apply -k` would send: every overlay, alone and with the components that it can be combined with."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tests.deploy.manifests import Manifests, Object

REPOSITORY = Path(__file__).parents[2]
K8S = REPOSITORY / "deploy" / "k8s"
KUBECTL = REPOSITORY / ".venv" / "bin" / "kubectl"

OVERLAYS = tuple(sorted(folder.name for folder in (K8S / "overlays").iterdir()))
COMPONENTS = tuple(
    sorted(
        str(file.parent.relative_to(K8S / "components"))
        for file in (K8S / "components").rglob("kustomization.yaml")
        if "kind: Component" in file.read_text()
    )
)
# What an overlay has already cannot be added to it again.
BUILT_IN = {
    "dev": (),
    "prod-1b": ("gpu", "model-cache"),
    "prod-2.6b": ("gpu", "model-cache"),
    "prod-both": ("gpu", "model-cache", "several-models"),
}
# These add to another one.
NEEDS = {"several-models/hpa": ("several-models", "hpa"), "several-models/keda": ("several-models", "keda")}
# All that go together; the autoscalers exclude each other.
ALWAYS = (
    "several-models",
    "model-cache",
    "gpu",
    "api-keys",
    "cert-manager",
    "gateway-api",
    "ingress",
    "otel-collector",
    "servicemonitor",
)


@dataclass(frozen=True)
class Rendering:
    """An overlay and the components put on top of it."""

    overlay: str
    components: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join((self.overlay, *self.components))

    def render(self) -> Manifests:
        """Return the objects, the caller's own to change."""
        return Manifests(deepcopy(_parsed(self)))


@cache
def _parsed(rendering: Rendering) -> list[Object]:
    # libyaml, several times as fast as the loader in Python; as safe.
    return [item for item in yaml.load_all(rendered(rendering), yaml.CSafeLoader) if item]


@cache
def rendered(rendering: Rendering) -> str:
    """Return the YAML. Raises AssertionError with what kustomize says."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder).resolve()
        paths = [K8S / "overlays" / rendering.overlay, *(K8S / "components" / name for name in rendering.components)]
        relative = [os.path.relpath(path, target) for path in paths]
        kustomization = {"resources": relative[:1], "components": relative[1:]}
        (target / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        done = subprocess.run([KUBECTL, "kustomize", target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{rendering}: {done.stderr}"
    # Deprecations are warnings on stderr.
    assert not done.stderr, f"{rendering}: {done.stderr}"
    return done.stdout


def renderings() -> list[Rendering]:
    """Return every overlay alone, with each component, and with all that go together."""
    return [
        Rendering(overlay, added(overlay, components))
        for overlay in OVERLAYS
        for components in (
            (),
            *((*NEEDS.get(component, ()), component) for component in COMPONENTS if component not in BUILT_IN[overlay]),
            *((*ALWAYS, autoscaler, f"several-models/{autoscaler}") for autoscaler in ("hpa", "keda")),
        )
    ]


def added(overlay: str, components: Sequence[str]) -> tuple[str, ...]:
    """Return those of the components that an overlay does not have already."""
    return tuple(component for component in components if component not in BUILT_IN[overlay])
