"""Every DSM_ variable is a setting of the service that gets it, and its value one that the service accepts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from services.codec.config import CodecConfig
from services.common.env import from_environment
from services.common.errors import ConfigError
from services.gateway.config import GatewayConfig
from services.lm.config import LmConfig
from tests.deploy.manifests import Manifests, Object, component_of, name_of, pod_of, server_of

CONFIGS = {"gateway": GatewayConfig, "codec": CodecConfig, "lm": LmConfig}


def settings_are_ours(manifests: Manifests) -> list[str]:
    return [problem for workload in manifests.of("Deployment") for problem in _problems(manifests, workload)]


def config_of(manifests: Manifests, workload: Object) -> GatewayConfig | CodecConfig | LmConfig:
    """Build what the service would. Raises ConfigError as it would."""
    kind = CONFIGS[component_of(workload)]
    return from_environment(kind, manifests.environment(server_of(workload)))


def _problems(manifests: Manifests, workload: Object) -> Iterator[str]:
    name, component = name_of(workload), component_of(workload)
    environment = manifests.environment(server_of(workload))
    ours = {variable for variable in environment if variable.startswith("DSM_")}
    if component not in CONFIGS:
        yield from (f"{name}: {variable} is for none of our services" for variable in sorted(ours))
        return
    known = {field.metadata["env"] for field in dataclasses.fields(CONFIGS[component])}
    yield from (f"{name}: {variable} is no setting of the {component}" for variable in sorted(ours - known))
    try:
        config_of(manifests, workload)
    except ConfigError as error:
        yield f"{name}: {error}"
    folders = [mount["mountPath"] for mount in server_of(workload).get("volumeMounts", [])]
    volumes = {volume["name"] for volume in pod_of(workload).get("volumes", [])}
    for variable in sorted(ours):
        file = environment[variable]
        if variable.endswith("_FILE") and not any(file.startswith(f"{folder}/") for folder in folders):
            yield f"{name}: {variable}={file} is on none of its volumes"
    for mount in server_of(workload).get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"{name}: mounts {mount['name']}, which is none of its volumes"
