"""Schemas: those of Kubernetes 1.34, and of the custom resources' own releases (scripts/fetch_crd_schemas.py)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

from tests.deploy.manifests import Manifests, name_of

KUBERNETES = "1.34"
CRDS = Path(__file__).parents[1] / "crds"


def objects_fit_their_schemas(manifests: Manifests) -> list[str]:
    return [
        f"{name_of(item)}: {complaint}" for item in manifests.objects if (complaint := _complaint(json.dumps(item)))
    ]


@cache
def _complaint(text: str) -> str:
    """Say what is wrong with an object; most are the same in many renderings."""
    item = json.loads(text)
    group, _, version = item["apiVersion"].rpartition("/")
    file = CRDS / f"{group}_{version}_{item['kind']}.json"
    try:
        if file.exists():
            jsonschema.validate(item, _schema(file))
        else:
            # Raises SchemaNotFoundError for a kind that neither has: nothing goes unchecked.
            kubernetes_validate.validate(item, KUBERNETES, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return str(error.message)
    return ""


@cache
def _schema(file: Path) -> Any:
    return json.loads(file.read_text())
