"""Autoscalers scale something that is there, which nobody else scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.deploy.manifests import Manifests, containers_of, name_of


def autoscalers_have_targets(manifests: Manifests) -> list[str]:
    return list(_problems(manifests))


def _problems(manifests: Manifests) -> Iterator[str]:
    scalers = [*manifests.of("HorizontalPodAutoscaler"), *manifests.of("ScaledObject")]
    for name, times in Counter(scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers).items():
        if times > 1:
            yield f"Deployment/{name}: {times} autoscalers would pull at it"
    for scaler in scalers:
        spec, reference = scaler["spec"], scaler["spec"]["scaleTargetRef"]
        target = manifests.find(reference["kind"], reference["name"])
        if target is None or target["apiVersion"] != reference["apiVersion"]:
            yield f"{name_of(scaler)}: there is no {reference['kind']} {reference['name']!r} to scale"
            continue
        if "replicas" in target["spec"]:
            yield f"{name_of(target)}: sets replicas, which {name_of(scaler)} would find set back by every apply"
        least = spec.get("minReplicas", spec.get("minReplicaCount", 1))
        if least > spec.get("maxReplicas", spec.get("maxReplicaCount", 100)):
            yield f"{name_of(scaler)}: at least {least} replicas and at most fewer"
        containers = {container["name"] for container in containers_of(target)}
        for metric in spec.get("metrics", []):
            container = metric.get("containerResource", {}).get("container")
            if container is not None and container not in containers:
                yield f"{name_of(scaler)}: {name_of(target)} has no container {container!r}"
