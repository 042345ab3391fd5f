"""Images are named with a version, ours with the one of this checkout."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache

from tests.deploy.manifests import Manifests, component_of, containers_of, name_of, server_of
from tests.deploy.renderings import REPOSITORY

_OURS = "ghcr.io/dsm-stt/dsm-stt-"
# The same image without CUDA.
_VARIANTS = ("", "-cpu")


def images_are_pinned(manifests: Manifests) -> list[str]:
    return list(_problems(manifests))


@cache
def _version() -> str:
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _problems(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        images = {container["image"] for container in containers_of(workload)}
        for image in sorted(images):
            name, _, tag = image.rpartition(":")
            if not name or "/" in tag or tag == "latest":
                yield f"{name_of(workload)}: the image {image} has no version"
            elif image.startswith(_OURS) and tag not in {_version() + variant for variant in _VARIANTS}:
                yield f"{name_of(workload)}: the image {image} is not of version {_version()}"
        component, server = component_of(workload), server_of(workload)["image"].rpartition(":")[0]
        if component in ("gateway", "codec", "lm") and server != f"{_OURS}{component}":
            yield f"{name_of(workload)}: wanted the image of the {component}, got {server}"
        if len({image.rpartition(":")[2].removesuffix(_VARIANTS[1]) for image in images}) > 1:
            yield f"{name_of(workload)}: its containers are of different versions: {sorted(images)}"
