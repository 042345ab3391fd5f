"""Rendered manifests, and the questions that checks ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# A Kubernetes object, a container, …: what YAML gives.
Object = dict[str, Any]

_RUNS_PODS = ("Deployment", "Job")


def name_of(item: Object) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


@dataclass
class Manifests:
    """All objects of one rendering."""

    objects: list[Object] = field(default_factory=list)

    def of(self, kind: str) -> list[Object]:
        return [item for item in self.objects if item["kind"] == kind]

    def find(self, kind: str, name: str) -> Object | None:
        return next((item for item in self.of(kind) if item["metadata"]["name"] == name), None)

    def get(self, kind: str, name: str) -> Object:
        item = self.find(kind, name)
        assert item is not None, f"no {kind}/{name}"
        return item

    def workloads(self, component: str | None = None) -> list[Object]:
        """Return what runs pods, of one component (gateway, codec, lm, …) or of all."""
        found = [item for kind in _RUNS_PODS for item in self.of(kind)]
        return [item for item in found if component in (None, component_of(item))]

    def environment(self, container: Object) -> dict[str, str]:
        """Return a container's variables as far as they are known here; those of Secrets are not."""
        variables: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if reference := source.get("configMapRef"):
                config = self.find("ConfigMap", reference["name"])
                variables.update(config["data"] if config else {})
        variables.update({item["name"]: item["value"] for item in container.get("env", []) if "value" in item})
        return variables


def component_of(workload: Object) -> str:
    return str(labels_of(workload).get("app.kubernetes.io/component", ""))


def labels_of(workload: Object) -> Mapping[str, str]:
    """Return the labels of a workload's pods."""
    return workload["spec"]["template"]["metadata"].get("labels", {})


def pod_of(workload: Object) -> Object:
    return workload["spec"]["template"]["spec"]


def containers_of(workload: Object) -> Iterator[Object]:
    """Return all containers, those that run first among them."""
    yield from pod_of(workload).get("initContainers", [])
    yield from pod_of(workload)["containers"]


def server_of(workload: Object) -> Object:
    """Return the container that is there to stay."""
    return pod_of(workload)["containers"][0]


def ports_of(workload: Object) -> dict[str, int]:
    """Return the ports of a workload's pods, by name."""
    return {port["name"]: port["containerPort"] for port in server_of(workload).get("ports", [])}


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector (matchLabels, matchExpressions) selects; {} selects everything, None nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _meets(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key = expression["key"]
    match expression["operator"]:
        case "In":
            return labels.get(key) in expression["values"]
        case "NotIn":
            return labels.get(key) not in expression["values"]
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case unknown:
            raise AssertionError(f"unknown operator {unknown!r}")
