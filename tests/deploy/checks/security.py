"""Containers can do what they need, and no more, and take no more than they were given."""

from __future__ import annotations

from collections.abc import Iterator

from tests.deploy.manifests import Manifests, Object, component_of, containers_of, name_of, pod_of, server_of

USER = 10001


def containers_are_confined(manifests: Manifests) -> list[str]:
    return [*_pods(manifests), *_containers(manifests)]


def _pods(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        pod = pod_of(workload)
        context = pod.get("securityContext", {})
        wanted = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
        for key, value in wanted.items():
            if context.get(key) != value:
                yield f"{name_of(workload)}: {key} is {context.get(key)}, wanted {value}"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name_of(workload)}: wanted seccompProfile RuntimeDefault"
        for key in ("automountServiceAccountToken", "enableServiceLinks"):
            if pod.get(key) is not False:
                yield f"{name_of(workload)}: wanted {key}: false"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(key):
                yield f"{name_of(workload)}: {key} is on"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield f"{name_of(workload)}: mounts a folder of its node"
    for account in manifests.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name_of(account)}: wanted automountServiceAccountToken: false"


def _containers(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        for container in containers_of(workload):
            context = container.get("securityContext", {})
            where = f"{name_of(workload)}, {container['name']}"
            if context.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: wanted allowPrivilegeEscalation: false"
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{where}: wanted readOnlyRootFilesystem: true"
            if context.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{where}: wanted all capabilities dropped"


def resources_are_limited(manifests: Manifests) -> list[str]:
    return list(_resources(manifests))


def _resources(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        for container in containers_of(workload):
            resources = container.get("resources", {})
            for kind in ("requests", "limits"):
                for resource in ("cpu", "memory"):
                    if resource not in resources.get(kind, {}):
                        yield f"{name_of(workload)}, {container['name']}: no {resource} in its {kind}"
        for volume in pod_of(workload).get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{name_of(workload)}: the volume {volume['name']} has no sizeLimit"
        if component_of(workload) in ("codec", "lm"):
            yield from _accelerator(manifests, workload)


def _accelerator(manifests: Manifests, workload: Object) -> Iterator[str]:
    server = server_of(workload)
    gpus = server["resources"].get("limits", {}).get("nvidia.com/gpu")
    device = manifests.environment(server).get("DSM_DEVICE")
    if (gpus is None) != (device is None) or device not in (None, "cuda"):
        yield f"{name_of(workload)}: has {gpus} GPU and DSM_DEVICE={device}"
    if gpus is not None and not pod_of(workload).get("tolerations"):
        yield f"{name_of(workload)}: tolerates no node with GPUs"
