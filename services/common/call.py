"""What is known of the call being served: its request id, and what its log line will say.

The interceptor opens it; servicers add fields. A context variable, so no function has to hand it on.
"""

from __future__ import annotations

import re
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span

REQUEST_ID_HEADER = "x-request-id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass
class Call:
    """One rpc while it is served."""

    method: str
    request_id: str
    # The one that serves it, for metrics.
    service: str = ""
    began_s: float = field(default_factory=time.monotonic)
    # A session's; the invalid one, which records nothing, for other calls.
    span: Span = trace.INVALID_SPAN
    fields: dict[str, Any] = field(default_factory=dict)


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """Return the call being served; outside one (in a test of a part), an anonymous one."""
    call = _current.get()
    if call is None:
        call = Call(method="", request_id="")
        _current.set(call)
    return call


def begin_call(method: str, metadata: dict[str, str], service: str = "") -> Call:
    """Open the call's record; an unusable request id is replaced by a new one."""
    given = metadata.get(REQUEST_ID_HEADER, "")
    request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    call = Call(method=method, request_id=request_id, service=service)
    _current.set(call)
    return call
