"""Each check has been seen to fail: a rendering that is broken in one way, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.deploy.checks import CHECKS, Check
from tests.deploy.checks.autoscaling import autoscalers_have_targets
from tests.deploy.checks.disruption import budgets_allow_evictions, drains_fit_into_the_grace, rollouts_surge
from tests.deploy.checks.images import images_are_pinned
from tests.deploy.checks.labels import selectors_select
from tests.deploy.checks.network import policies_let_through_what_is_needed
from tests.deploy.checks.ports import ports_exist
from tests.deploy.checks.probes import probes_ask_for_what_is_served
from tests.deploy.checks.references import what_is_named_exists
from tests.deploy.checks.schemas import objects_fit_their_schemas
from tests.deploy.checks.security import containers_are_confined, resources_are_limited
from tests.deploy.checks.settings import settings_are_ours
from tests.deploy.manifests import Manifests, Object, pod_of, server_of
from tests.deploy.renderings import Rendering

Break = Callable[[Manifests], object]

WHOLE = Rendering("prod-both", ("api-keys", "cert-manager", "gateway-api", "ingress", "otel-collector"))
SCALED = Rendering("prod-both", ("hpa", "several-models/hpa", "servicemonitor"))
WITH_KEDA = Rendering("prod-1b", ("keda",))


def deployment(manifests: Manifests, name: str = "lm") -> Object:
    return manifests.get("Deployment", name)


def server(manifests: Manifests, name: str = "lm") -> Object:
    return server_of(deployment(manifests, name))


def spec(manifests: Manifests, kind: str, name: str) -> Object:
    found: Object = manifests.get(kind, name)["spec"]
    return found


def data(manifests: Manifests, prefix: str) -> Object:
    (config,) = [item for item in manifests.of("ConfigMap") if item["metadata"]["name"].startswith(prefix)]
    found: Object = config["data"]
    return found


def variables(manifests: Manifests) -> list[Object]:
    found: list[Object] = server(manifests)["env"]
    return found


CASES: list[tuple[Check, Rendering, Break, str]] = [
    # Schemas: strict, custom resources too.
    (objects_fit_their_schemas, WHOLE, lambda m: deployment(m)["spec"].update(replica=2), "'replica' was unexpected"),
    (
        objects_fit_their_schemas,
        WHOLE,
        lambda m: spec(m, "Certificate", "lm-mtls").update(dnsName="x"),
        "'dnsName' was unexpected",
    ),
    (
        objects_fit_their_schemas,
        WITH_KEDA,
        lambda m: spec(m, "ScaledObject", "lm").update(minReplicaCount="2"),
        "'2' is not of type 'integer'",
    ),
    (
        objects_fit_their_schemas,
        SCALED,
        lambda m: spec(m, "ServiceMonitor", "dsm-stt")["endpoints"][0].update(scrape="1s"),
        "'scrape' was unexpected",
    ),
    (
        objects_fit_their_schemas,
        SCALED,
        lambda m: spec(m, "PrometheusRule", "dsm-stt")["groups"][0]["rules"][0].update(labels="x"),
        "'x' is not of type 'object'",
    ),
    # Selectors.
    (
        selectors_select,
        WHOLE,
        # The second model's pods would belong to both.
        lambda m: deployment(m)["spec"].update(selector={"matchLabels": {"app.kubernetes.io/component": "lm"}}),
        "its selector should select its own pods alone",
    ),
    (
        selectors_select,
        WHOLE,
        lambda m: spec(m, "Service", "lm")["selector"].update({"app.kubernetes.io/instance": "lm"}),
        "not ['Deployment/lm-2-6b']",
    ),
    (
        selectors_select,
        WHOLE,
        lambda m: spec(m, "PodDisruptionBudget", "codec").update(selector={"matchLabels": {"app": "codec"}}),
        "wanted the pods of one Deployment, selects []",
    ),
    (
        selectors_select,
        SCALED,
        lambda m: spec(m, "ServiceMonitor", "dsm-stt")["endpoints"][0].update(port="metric"),
        "no Service has the port 'metric'",
    ),
    # Ports.
    (ports_exist, WHOLE, lambda m: server(m)["ports"].pop(0), "has no port 'grpc'"),
    (
        ports_exist,
        WHOLE,
        lambda m: spec(m, "Service", "codec")["ports"][0].update(port=80),
        "headless, so 80 must be the pod's own port 50061",
    ),
    (ports_exist, WHOLE, lambda m: spec(m, "Service", "codec").pop("clusterIP"), "no headless Service has that name"),
    (
        ports_exist,
        WHOLE,
        lambda m: data(m, "codec-config").update(DSM_HEALTH_LISTEN="0.0.0.0:1"),
        "DSM_HEALTH_LISTEN=0.0.0.0:1, but",
    ),
    (
        ports_exist,
        WHOLE,
        lambda m: spec(m, "GRPCRoute", "gateway")["rules"][0]["backendRefs"][0].update(port=443),
        "no Service 'gateway' with port 443",
    ),
    # Probes.
    (
        probes_ask_for_what_is_served,
        WHOLE,
        lambda m: server(m)["livenessProbe"]["grpc"].pop("service"),
        "livenessProbe asks for None, wanted 'liveness'",
    ),
    (
        probes_ask_for_what_is_served,
        WHOLE,
        # With mTLS nobody would answer there.
        lambda m: server(m)["readinessProbe"]["grpc"].update(port=50062),
        "readinessProbe asks port 50062, wanted 50081",
    ),
    (
        probes_ask_for_what_is_served,
        WHOLE,
        lambda m: server(m)["readinessProbe"]["grpc"].update(service="dsm_stt.lm.LmService"),
        "wanted 'dsm_stt.lm.v1.LmService'",
    ),
    (
        probes_ask_for_what_is_served,
        WHOLE,
        lambda m: deployment(m)["spec"].update(progressDeadlineSeconds=60),
        "wanted more than the 600 s",
    ),
    # Settings.
    (
        settings_are_ours,
        WHOLE,
        lambda m: data(m, "codec-config").update(DSM_CODEC_SLOT="1"),
        "DSM_CODEC_SLOT is no setting of the codec",
    ),
    (
        settings_are_ours,
        WHOLE,
        lambda m: data(m, "codec-config").update(DSM_CODEC_SLOTS="many"),
        "DSM_CODEC_SLOTS: wanted a whole number, got 'many'",
    ),
    (
        settings_are_ours,
        WHOLE,
        lambda m: variables(m).pop([item["name"] for item in variables(m)].index("DSM_MTLS_CA_FILE")),
        "DSM_MTLS_CA_FILE is not set",
    ),
    (
        settings_are_ours,
        WHOLE,
        lambda m: data(m, "gateway-config").update(DSM_API_KEYS_FILE="/keys.json"),
        "DSM_API_KEYS_FILE=/keys.json is on none of its volumes",
    ),
    # References.
    (
        what_is_named_exists,
        WHOLE,
        lambda m: server(m)["envFrom"][0]["configMapRef"].update(name="lm-settings"),
        "there is no ConfigMap 'lm-settings'",
    ),
    (
        what_is_named_exists,
        WHOLE,
        lambda m: spec(m, "Certificate", "lm-mtls").update(secretName="lm-tls"),
        "there is no Secret 'lm-mtls'",
    ),
    (
        what_is_named_exists,
        WHOLE,
        lambda m: pod_of(deployment(m)).update(serviceAccountName="worker"),
        "there is no ServiceAccount 'worker'",
    ),
    # Ends of pods.
    (
        drains_fit_into_the_grace,
        WHOLE,
        lambda m: data(m, "codec-config").update(DSM_DRAIN_S="600"),
        "terminationGracePeriodSeconds is 135, a drain may take 605 s",
    ),
    (
        drains_fit_into_the_grace,
        WHOLE,
        lambda m: server(m, "gateway")["lifecycle"]["preStop"]["sleep"].update(seconds=30),
        "a drain may take 155 s",
    ),
    (
        budgets_allow_evictions,
        WHOLE,
        lambda m: manifests_budget(m).update(minAvailable=2),
        "lets no pod go",
    ),
    (
        rollouts_surge,
        WHOLE,
        lambda m: deployment(m)["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "wanted the new pod before the old one goes",
    ),
    # Autoscalers.
    (
        autoscalers_have_targets,
        SCALED,
        lambda m: spec(m, "HorizontalPodAutoscaler", "lm")["scaleTargetRef"].update(name="llm"),
        "there is no Deployment 'llm' to scale",
    ),
    (autoscalers_have_targets, SCALED, lambda m: deployment(m)["spec"].update(replicas=2), "sets replicas"),
    (
        autoscalers_have_targets,
        SCALED,
        lambda m: m.objects.append(WITH_KEDA.render().get("ScaledObject", "lm")),
        "2 autoscalers would pull at it",
    ),
    (
        autoscalers_have_targets,
        SCALED,
        lambda m: spec(m, "HorizontalPodAutoscaler", "gateway").update(maxReplicas=1),
        "at least 2 replicas and at most fewer",
    ),
    # Confinement.
    (
        containers_are_confined,
        WHOLE,
        lambda m: pod_of(deployment(m))["securityContext"].update(runAsUser=0),
        "runAsUser is 0, wanted 10001",
    ),
    (
        containers_are_confined,
        WHOLE,
        lambda m: server(m)["securityContext"].pop("readOnlyRootFilesystem"),
        "wanted readOnlyRootFilesystem: true",
    ),
    (
        containers_are_confined,
        WHOLE,
        lambda m: pod_of(deployment(m))["initContainers"][0].pop("securityContext"),
        "Deployment/lm, wait-for-model: wanted allowPrivilegeEscalation: false",
    ),
    (
        containers_are_confined,
        WHOLE,
        lambda m: pod_of(deployment(m)).pop("automountServiceAccountToken"),
        "wanted automountServiceAccountToken: false",
    ),
    (
        resources_are_limited,
        WHOLE,
        lambda m: server(m)["resources"]["limits"].pop("memory"),
        "no memory in its limits",
    ),
    (
        resources_are_limited,
        WHOLE,
        lambda m: server(m)["resources"]["limits"].pop("nvidia.com/gpu"),
        "has None GPU and DSM_DEVICE=cuda",
    ),
    # Images.
    (
        images_are_pinned,
        WHOLE,
        lambda m: server(m).update(image="ghcr.io/dsm-stt/dsm-stt-lm"),
        "the image ghcr.io/dsm-stt/dsm-stt-lm has no version",
    ),
    (
        images_are_pinned,
        WHOLE,
        lambda m: server(m).update(image="ghcr.io/dsm-stt/dsm-stt-lm:0.0.9"),
        "is not of version",
    ),
    # Network: what is missing, and what is too much.
    (
        policies_let_through_what_is_needed,
        WHOLE,
        # What kustomize's includeSelectors makes of a label that only the second model should get.
        lambda m: spec(m, "NetworkPolicy", "lm")["ingress"][0]["from"][0]["podSelector"]["matchLabels"].update(
            {"app.kubernetes.io/instance": "lm-2-6b"}
        ),
        "Deployment/gateway cannot reach Deployment/lm at 50062",
    ),
    (
        policies_let_through_what_is_needed,
        # Without the collector, whose policy lets look-ups through, too.
        SCALED,
        lambda m: spec(m, "NetworkPolicy", "gateway")["egress"].pop(),
        "Deployment/gateway cannot reach DNS",
    ),
    (
        policies_let_through_what_is_needed,
        WHOLE,
        lambda m: m.objects.remove(m.get("NetworkPolicy", "probes")),
        "the kubelet cannot reach Deployment/lm",
    ),
    (
        policies_let_through_what_is_needed,
        WHOLE,
        lambda m: m.objects.remove(m.get("NetworkPolicy", "metrics")),
        "Prometheus cannot reach Deployment/codec",
    ),
    (
        policies_let_through_what_is_needed,
        WHOLE,
        lambda m: m.objects.remove(m.get("NetworkPolicy", "spans")),
        "Deployment/lm cannot reach Deployment/otel-collector",
    ),
    (
        policies_let_through_what_is_needed,
        WHOLE,
        lambda m: spec(m, "NetworkPolicy", "lm")["ingress"][0].pop("from"),
        "{'app': 'caller'} can reach Deployment/lm",
    ),
    (
        policies_let_through_what_is_needed,
        WHOLE,
        lambda m: spec(m, "NetworkPolicy", "spans")["egress"].append({}),
        "Deployment/gateway can reach the internet",
    ),
    (
        policies_let_through_what_is_needed,
        WHOLE,
        lambda m: spec(m, "NetworkPolicy", "model-pull")["egress"][0]["to"][0]["ipBlock"].pop("except"),
        "Job/model-pull can reach the metadata service",
    ),
]


def manifests_budget(manifests: Manifests) -> Object:
    budget = spec(manifests, "PodDisruptionBudget", "lm")
    budget.pop("maxUnavailable")
    return budget


@pytest.mark.parametrize(("check", "rendering", "break_it", "complaint"), CASES, ids=[case[3] for case in CASES])
def test_a_broken_rendering_is_complained_about(
    check: Check, rendering: Rendering, break_it: Break, complaint: str
) -> None:
    manifests = rendering.render()
    assert check(manifests) == []
    break_it(manifests)
    assert any(complaint in problem for problem in check(manifests)), check(manifests)


def test_no_check_goes_untested() -> None:
    assert {check for check, *_ in CASES} == set(CHECKS)
