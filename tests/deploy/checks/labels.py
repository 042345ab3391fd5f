"""Selectors match what they are meant for, and nothing else."""

from __future__ import annotations

from tests.deploy.manifests import Manifests, component_of, labels_of, name_of, pod_of, selects


def selectors_select(manifests: Manifests) -> list[str]:
    return [
        *_own_pods(manifests),
        *_services(manifests),
        *_one_workload_each(manifests),
        *_policies(manifests),
        *_monitors(manifests),
    ]


def _own_pods(manifests: Manifests) -> list[str]:
    problems = []
    for workload in manifests.of("Deployment"):
        selector = workload["spec"]["selector"]
        selected = [other for other in manifests.workloads() if selects(selector, labels_of(other))]
        if selected != [workload]:
            names = [name_of(other) for other in selected]
            problems.append(f"{name_of(workload)}: its selector should select its own pods alone, selects {names}")
        problems.extend(
            f"{name_of(workload)}: spreads pods that are not its own"
            for constraint in pod_of(workload).get("topologySpreadConstraints", [])
            if not selects(constraint["labelSelector"], labels_of(workload))
        )
    return problems


def _services(manifests: Manifests) -> list[str]:
    problems = []
    for service in manifests.of("Service"):
        wanted = service["metadata"]["labels"]["app.kubernetes.io/component"]
        selected = [
            workload
            for workload in manifests.workloads()
            if selects({"matchLabels": service["spec"]["selector"]}, labels_of(workload))
        ]
        found = {component_of(workload) for workload in selected}
        missing = [name_of(other) for other in manifests.workloads(wanted) if other not in selected]
        if found != {wanted} or missing:
            problems.append(f"{name_of(service)}: wanted pods of {wanted}, selects {sorted(found)}, not {missing}")
    return problems


def _one_workload_each(manifests: Manifests) -> list[str]:
    problems = []
    for budget in manifests.of("PodDisruptionBudget"):
        selected = [
            name_of(workload)
            for workload in manifests.of("Deployment")
            if selects(budget["spec"]["selector"], labels_of(workload))
        ]
        if len(selected) != 1:
            problems.append(f"{name_of(budget)}: wanted the pods of one Deployment, selects {selected}")
    return problems


def _policies(manifests: Manifests) -> list[str]:
    return [
        f"{name_of(policy)}: selects no pods"
        for policy in manifests.of("NetworkPolicy")
        if not any(selects(policy["spec"]["podSelector"], labels_of(workload)) for workload in manifests.workloads())
    ]


def _monitors(manifests: Manifests) -> list[str]:
    problems = []
    for monitor in manifests.of("ServiceMonitor"):
        services = [
            service
            for service in manifests.of("Service")
            if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        ]
        components = sorted(service["metadata"]["labels"]["app.kubernetes.io/component"] for service in services)
        # Each once: two Services for the same pods would count everything twice.
        if components != ["codec", "gateway", "lm"]:
            problems.append(f"{name_of(monitor)}: wanted one Service each of codec, gateway, lm, selects {components}")
        ports = {port["name"] for service in services for port in service["spec"]["ports"]}
        problems.extend(
            f"{name_of(monitor)}: no Service has the port {endpoint['port']!r}"
            for endpoint in monitor["spec"]["endpoints"]
            if endpoint["port"] not in ports
        )
    return problems
