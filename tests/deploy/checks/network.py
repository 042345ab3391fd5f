"""Who can reach whom: what the services need gets through, and nothing that they do not need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.deploy.checks.reach import Place, reaches
from tests.deploy.manifests import Manifests, Object, component_of, labels_of, name_of, ports_of

_NAMESPACE = "dsm-stt"
_DNS = Place(namespace="kube-system", labels={"k8s-app": "kube-dns"})
_PROMETHEUS = Place(namespace="monitoring", labels={"app.kubernetes.io/name": "prometheus"})
# A node: no selector selects it.
_KUBELET = Place(address="10.0.0.7")
_CALLER = Place(namespace="default", labels={"app": "caller"})
_INTERNET = Place(address="18.0.0.1")
_METADATA_SERVICE = Place(address="169.254.169.254")


def policies_let_through_what_is_needed(manifests: Manifests) -> list[str]:
    return [
        *(f"{who} cannot reach {whom}" for who, whom, allowed in _needed(manifests) if not allowed),
        *(f"{who} can reach {whom}" for who, whom, allowed in _needless(manifests) if allowed),
    ]


def _place(workload: Object) -> Place:
    return Place(namespace=_NAMESPACE, labels=labels_of(workload), ports=ports_of(workload))


def _needed(manifests: Manifests) -> Iterator[tuple[str, str, bool]]:
    policies = manifests.of("NetworkPolicy")
    gateways, workers = manifests.workloads("gateway"), _workers(manifests)
    for gateway in gateways:
        for worker in workers:
            port = ports_of(worker)["grpc"]
            what = f"{name_of(worker)} at {port}"
            yield name_of(gateway), what, reaches(policies, _place(gateway), _place(worker), port)
        yield "a caller", name_of(gateway), reaches(policies, _CALLER, _place(gateway), ports_of(gateway)["grpc"])
        yield name_of(gateway), "DNS", reaches(policies, _place(gateway), _DNS, 53, "UDP")
    for workload in (*gateways, *workers):
        ports = ports_of(workload)
        yield "the kubelet", name_of(workload), reaches(policies, _KUBELET, _place(workload), ports["health"])
        yield "Prometheus", name_of(workload), reaches(policies, _PROMETHEUS, _place(workload), ports["metrics"])
        for collector in manifests.workloads("otel-collector"):
            what = name_of(collector)
            yield name_of(workload), what, reaches(policies, _place(workload), _place(collector), 4317)
            yield name_of(workload), "DNS", reaches(policies, _place(workload), _DNS, 53, "UDP")
    for job in manifests.workloads("model-pull"):
        yield name_of(job), "the hub", reaches(policies, _place(job), _INTERNET, 443)
        yield name_of(job), "DNS", reaches(policies, _place(job), _DNS, 53, "UDP")


def _needless(manifests: Manifests) -> Iterator[tuple[str, str, bool]]:
    policies = manifests.of("NetworkPolicy")
    stranger = Place(namespace=_NAMESPACE, labels={"app": "stranger"})
    for workload in (*manifests.workloads("gateway"), *_workers(manifests)):
        place, ports = _place(workload), ports_of(workload)
        yield name_of(workload), "the internet", reaches(policies, place, _INTERNET, 443)
        yield name_of(workload), "the metadata service", reaches(policies, place, _METADATA_SERVICE, 80)
        yield "a caller", f"the metrics of {name_of(workload)}", reaches(policies, _CALLER, place, ports["metrics"])
    for worker in _workers(manifests):
        place, port = _place(worker), ports_of(worker)["grpc"]
        # Had the other side no policy at all, this side's must be enough.
        for who in (_CALLER, stranger, replace(_INTERNET, ports={})):
            yield f"{who.labels or who.address}", name_of(worker), reaches(policies, who, place, port)
        for other in _workers(manifests):
            if component_of(other) != component_of(worker):
                yield name_of(other), name_of(worker), reaches(policies, _place(other), place, port)
    for job in manifests.workloads("model-pull"):
        yield name_of(job), "the metadata service", reaches(policies, _place(job), _METADATA_SERVICE, 443)
        for worker in _workers(manifests):
            what = name_of(worker)
            yield name_of(job), what, reaches(policies, _place(job), _place(worker), ports_of(worker)["grpc"])


def _workers(manifests: Manifests) -> list[Object]:
    return [*manifests.workloads("codec"), *manifests.workloads("lm")]
