"""What NetworkPolicies mean, as far as ours go: does a packet from here reach there?

The rules: a pod that no policy of a direction selects is open in that direction; one that is selected is closed but
for what any of those policies lets through. Both ends must agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.deploy.manifests import Object, selects

# Of the namespace that the policies are in.
_NAMESPACE = "dsm-stt"


@dataclass(frozen=True)
class Place:
    """Where a packet comes from or goes to: a pod, or an address that is none."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""


def reaches(policies: Sequence[Object], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Tell whether `source` may open a connection to a port of `target`."""
    return _passes(policies, "Egress", source, target, port, protocol) and _passes(
        policies, "Ingress", target, source, port, protocol
    )


def _passes(policies: Sequence[Object], direction: str, here: Place, there: Place, port: int, protocol: str) -> bool:
    applying = [
        policy["spec"]
        for policy in policies
        if here.namespace == _NAMESPACE
        and selects(policy["spec"]["podSelector"], here.labels)
        and direction in policy["spec"]["policyTypes"]
    ]
    listening = here if direction == "Ingress" else there
    key, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    return not applying or any(
        _is_peer(rule.get(peers), there) and _is_port(rule.get("ports"), listening, port, protocol)
        for spec in applying
        for rule in spec.get(key, [])
    )


def _is_peer(peers: Sequence[Mapping[str, Any]] | None, place: Place) -> bool:
    # No list at all: everybody.
    return peers is None or any(_matches(peer, place) for peer in peers)


def _matches(peer: Mapping[str, Any], place: Place) -> bool:
    if block := peer.get("ipBlock"):
        if not place.address:
            return False
        address = ip_address(place.address)
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(hole) for hole in block.get("except", [])
        )
    if not place.namespace:
        return False
    if "namespaceSelector" in peer:
        namespace = {"kubernetes.io/metadata.name": place.namespace}
        return selects(peer["namespaceSelector"], namespace) and selects(peer.get("podSelector", {}), place.labels)
    return place.namespace == _NAMESPACE and selects(peer["podSelector"], place.labels)


def _is_port(ports: Sequence[Mapping[str, Any]] | None, place: Place, port: int, protocol: str) -> bool:
    return ports is None or any(
        wanted.get("protocol", "TCP") == protocol
        # A port may be named as the pod's container names it.
        and place.ports.get(wanted["port"], wanted["port"]) == port
        for wanted in ports
    )
