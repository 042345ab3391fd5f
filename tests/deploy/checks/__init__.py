"""What must be true of every rendering and no schema knows. A check returns its complaints, one line each."""

from __future__ import annotations

from collections.abc import Callable

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
from tests.deploy.manifests import Manifests

Check = Callable[[Manifests], list[str]]

CHECKS: tuple[Check, ...] = (
    objects_fit_their_schemas,
    selectors_select,
    ports_exist,
    probes_ask_for_what_is_served,
    settings_are_ours,
    what_is_named_exists,
    drains_fit_into_the_grace,
    budgets_allow_evictions,
    rollouts_surge,
    autoscalers_have_targets,
    containers_are_confined,
    resources_are_limited,
    images_are_pinned,
    policies_let_through_what_is_needed,
)
