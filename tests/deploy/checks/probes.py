"""Probes tell loading, draining and stuck apart."""

from __future__ import annotations

from collections.abc import Iterator

from dsm_stt.codec.v1 import codec_pb2
from dsm_stt.lm.v1 import lm_pb2
from dsm_stt.speech.v1 import speech_pb2
from services.common.grpc_server import LIVENESS
from services.common.worker_serve import WorkerSettings
from tests.deploy.manifests import Manifests, component_of, name_of, ports_of, server_of

_SERVICES = {
    "gateway": speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name,
    "codec": codec_pb2.DESCRIPTOR.services_by_name["CodecService"].full_name,
    "lm": lm_pb2.DESCRIPTOR.services_by_name["LmService"].full_name,
}
# A worker has started once it can serve; a gateway has, with or without workers.
_STARTED = {"gateway": LIVENESS, "codec": _SERVICES["codec"], "lm": _SERVICES["lm"]}


def probes_ask_for_what_is_served(manifests: Manifests) -> list[str]:
    return list(_problems(manifests))


def _problems(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of("Deployment"):
        component, server, ports = component_of(workload), server_of(workload), ports_of(workload)
        name = name_of(workload)
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            for protocol in ("grpc", "httpGet"):
                port = server.get(kind, {}).get(protocol, {}).get("port")
                if port is not None and port not in (*ports, *ports.values()):
                    yield f"{name}: {kind} asks port {port}, which the container does not have"
        if component not in _SERVICES:
            continue
        wanted = {
            "startupProbe": _STARTED[component],
            "readinessProbe": _SERVICES[component],
            "livenessProbe": LIVENESS,
        }
        for kind, service in wanted.items():
            probe = server.get(kind, {}).get("grpc", {})
            if probe.get("service") != service:
                yield f"{name}: {kind} asks for {probe.get('service')!r}, wanted {service!r}"
            # The one port that answers whatever TLS is on.
            if probe.get("port") != ports.get("health"):
                yield f"{name}: {kind} asks port {probe.get('port')}, wanted {ports.get('health')} (health)"
        liveness = server.get("livenessProbe", {})
        patience_s = liveness.get("periodSeconds", 10) * liveness.get("failureThreshold", 3)
        if patience_s < WorkerSettings.stuck_after_s:
            yield f"{name}: livenessProbe gives up after {patience_s} s"
        startup = server.get("startupProbe", {})
        start_s = startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
        if workload["spec"].get("progressDeadlineSeconds", 600) <= start_s:
            yield f"{name}: progressDeadlineSeconds: wanted more than the {start_s} s that a start may take"
