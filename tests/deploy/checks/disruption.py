"""Pods go one at a time, with time to hand over what they have."""

from __future__ import annotations

from collections.abc import Iterator

from services.common.errors import ConfigError
from tests.deploy.checks.settings import CONFIGS, config_of
from tests.deploy.manifests import Manifests, component_of, labels_of, name_of, pod_of, selects, server_of

# After the drain: a last word to everybody, and the way out of the process.
_AFTER_DRAIN_S = 5


def drains_fit_into_the_grace(manifests: Manifests) -> list[str]:
    return list(_drains(manifests))


def _drains(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of("Deployment"):
        if component_of(workload) not in CONFIGS:
            continue
        try:
            drain_s = config_of(manifests, workload).drain_s
        except ConfigError:
            continue  # settings_are_ours says so
        pre_stop = server_of(workload).get("lifecycle", {}).get("preStop", {})
        wanted_s = pre_stop.get("sleep", {}).get("seconds", 0) + drain_s + _AFTER_DRAIN_S
        grace_s = pod_of(workload).get("terminationGracePeriodSeconds", 30)
        if grace_s < wanted_s:
            yield f"{name_of(workload)}: terminationGracePeriodSeconds is {grace_s}, a drain may take {wanted_s:.0f} s"


def budgets_allow_evictions(manifests: Manifests) -> list[str]:
    return list(_budgets(manifests))


def _budgets(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of("Deployment"):
        if component_of(workload) not in CONFIGS:
            continue
        budgets = [
            budget["spec"]
            for budget in manifests.of("PodDisruptionBudget")
            if selects(budget["spec"]["selector"], labels_of(workload))
        ]
        if len(budgets) != 1:
            yield f"{name_of(workload)}: wanted one PodDisruptionBudget, has {len(budgets)}"
            continue
        (budget,) = budgets
        at_most = budget.get("maxUnavailable")
        if at_most is None:
            at_most = _fewest(manifests, workload["metadata"]["name"]) - budget["minAvailable"]
        if at_most < 1:
            yield f"{name_of(workload)}: its PodDisruptionBudget lets no pod go, so no node can be drained"


def _fewest(manifests: Manifests, name: str) -> int:
    """Return the fewest replicas that a Deployment may have."""
    for scaler in (*manifests.of("HorizontalPodAutoscaler"), *manifests.of("ScaledObject")):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount", 1)))
    return int(manifests.get("Deployment", name)["spec"].get("replicas", 1))


def rollouts_surge(manifests: Manifests) -> list[str]:
    problems = []
    for workload in manifests.of("Deployment"):
        strategy = workload["spec"].get("strategy", {})
        rolling = strategy.get("rollingUpdate", {})
        if strategy.get("type") != "RollingUpdate" or rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
            problems.append(f"{name_of(workload)}: wanted the new pod before the old one goes, got {strategy}")
    return problems
