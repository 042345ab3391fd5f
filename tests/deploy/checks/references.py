"""Every Secret, ConfigMap, claim and ServiceAccount that is named is there, or documented as the operator's to make."""

from __future__ import annotations

from collections.abc import Iterator

from tests.deploy.manifests import Manifests, Object, containers_of, name_of, pod_of
from tests.deploy.renderings import REPOSITORY

DOCUMENTATION = REPOSITORY / "docs" / "kubernetes.md"


def what_is_named_exists(manifests: Manifests) -> list[str]:
    documented = DOCUMENTATION.read_text()
    made = {certificate["spec"]["secretName"] for certificate in manifests.of("Certificate")}
    problems = []
    for item, kind, name in _references(manifests):
        if manifests.find(kind, name) or (kind == "Secret" and name in made):
            continue
        # Those that a person makes are listed in the documentation, each with how.
        if kind in ("Secret", "ClusterIssuer") and f"`{name}`" in documented:
            continue
        problems.append(f"{name_of(item)}: there is no {kind} {name!r}")
    return problems


def _references(manifests: Manifests) -> Iterator[tuple[Object, str, str]]:
    for workload in manifests.workloads():
        pod = pod_of(workload)
        yield workload, "ServiceAccount", pod.get("serviceAccountName", "default")
        for container in containers_of(workload):
            for source in container.get("envFrom", []):
                for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                    if key in source:
                        yield workload, kind, source[key]["name"]
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                yield workload, "Secret", volume["secret"]["secretName"]
            if "configMap" in volume:
                yield workload, "ConfigMap", volume["configMap"]["name"]
            if "persistentVolumeClaim" in volume:
                yield workload, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for ingress in manifests.of("Ingress"):
        for tls in ingress["spec"].get("tls", []):
            yield ingress, "Secret", tls["secretName"]
    for certificate in manifests.of("Certificate"):
        issuer = certificate["spec"]["issuerRef"]
        yield certificate, issuer["kind"], issuer["name"]
    for issuer in manifests.of("Issuer"):
        if "ca" in issuer["spec"]:
            yield issuer, "Secret", issuer["spec"]["ca"]["secretName"]
