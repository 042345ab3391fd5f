"""Ports that are named somewhere are opened somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.gateway.upstream.addresses import DNS_PREFIX
from tests.deploy.manifests import Manifests, Object, labels_of, name_of, ports_of, selects, server_of

# Where a setting says which port a process opens.
_LISTENS = {
    "DSM_GATEWAY_LISTEN": "grpc",
    "DSM_CODEC_LISTEN": "grpc",
    "DSM_LM_LISTEN": "grpc",
    "DSM_HEALTH_LISTEN": "health",
    "DSM_METRICS_LISTEN": "metrics",
}


def ports_exist(manifests: Manifests) -> list[str]:
    return [
        *_services(manifests),
        *_settings(manifests),
        *_upstreams(manifests),
        *_ways_in(manifests),
    ]


def _services(manifests: Manifests) -> Iterator[str]:
    for service in manifests.of("Service"):
        for workload in manifests.of("Deployment"):
            if not selects({"matchLabels": service["spec"]["selector"]}, labels_of(workload)):
                continue
            for port in service["spec"]["ports"]:
                number = ports_of(workload).get(port["targetPort"])
                if number is None:
                    yield f"{name_of(service)}: {name_of(workload)} has no port {port['targetPort']!r}"
                # Who looks up the pods themselves calls the port of the Service at the pod.
                elif service["spec"].get("clusterIP") == "None" and number != port["port"]:
                    yield f"{name_of(service)}: headless, so {port['port']} must be the pod's own port {number}"


def _settings(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of("Deployment"):
        for variable, value in manifests.environment(server_of(workload)).items():
            if variable in _LISTENS and ports_of(workload).get(_LISTENS[variable]) != _port(value):
                yield f"{name_of(workload)}: {variable}={value}, but the port {_LISTENS[variable]!r} is another"


def _upstreams(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads("gateway"):
        environment = manifests.environment(server_of(workload))
        for variable in ("DSM_GATEWAY_CODECS", "DSM_GATEWAY_LMS"):
            for address in environment[variable].split(","):
                host = address.removeprefix(DNS_PREFIX).rpartition(":")[0]
                service = manifests.find("Service", host)
                if service is None or service["spec"].get("clusterIP") != "None":
                    yield f"{name_of(workload)}: {variable}={address}, but no headless Service has that name"
                elif _port(address) not in {port["port"] for port in service["spec"]["ports"]}:
                    yield f"{name_of(workload)}: {variable}={address}, but {name_of(service)} has other ports"


def _ways_in(manifests: Manifests) -> Iterator[str]:
    for ingress in manifests.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                yield from _has_port(manifests, ingress, backend["name"], "name", backend["port"]["name"])
    for route in manifests.of("GRPCRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield from _has_port(manifests, route, backend["name"], "port", backend["port"])


def _has_port(manifests: Manifests, item: Object, service_name: str, key: str, wanted: Any) -> Iterator[str]:
    service = manifests.find("Service", service_name)
    if service is None or wanted not in {port[key] for port in service["spec"]["ports"]}:
        yield f"{name_of(item)}: no Service {service_name!r} with port {wanted!r}"


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
