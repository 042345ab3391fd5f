"""The status that the service gave a call, even when grpc.aio puts one of its own in its place.

A client that still writes when the service ends the call has a failing write, for which grpc.aio sets INTERNAL,
"Internal error from Core", before or after it has the service's own status: the caller would read of an internal error
instead of, say, a full service. https://github.com/grpc/grpc/issues/36066, open as of grpcio 1.85.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

_MADE_UP_DETAILS = "Internal error from Core"
# How long the service's own status may come after the made-up one.
_PATIENCE_S = 1.0


class FinalStatus:
    """Make it right after the call; ask it when the call has failed."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        self._true: asyncio.Future[grpc.aio.AioRpcError] = asyncio.get_running_loop().create_future()
        # Called each time a status is set.
        call.add_done_callback(self._look)

    async def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the error with the service's own status in it, if there is one."""
        if not _made_up(error.code(), error.details()):
            return error
        try:
            return await asyncio.wait_for(asyncio.shield(self._true), _PATIENCE_S)
        except TimeoutError:
            return error

    def _look(self, call: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        code, details = _now(call.code()), _now(call.details())
        if not self._true.done() and code is not grpc.StatusCode.OK and not _made_up(code, details):
            trailing_metadata = _now(call.trailing_metadata())
            self._true.set_result(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing_metadata, details))


def _made_up(code: grpc.StatusCode, details: str | None) -> bool:
    return code is grpc.StatusCode.INTERNAL and details == _MADE_UP_DETAILS


def _now(coroutine: Any) -> Any:
    """Return the result of a coroutine that has nothing to wait for: the status is there."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a call that is done has its status")
