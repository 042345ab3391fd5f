"""The one place where calls get their request id, their log line, and their status when they fail.

Servicers raise; `CallInterceptor` maps what they raise by `grpc_status`, aborts the call and logs it whole. Nothing
else aborts calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from services.common import telemetry
from services.common.call import REQUEST_ID_HEADER, Call, begin_call
from services.common.errors import BadConfig, NotReady
from services.common.grpc_status import code_and_reason, message_of, status_of

_log = structlog.get_logger()

# Probes every few seconds would drown the rest.
_QUIET_METHODS = ("/grpc.health.v1.Health/", "/grpc.reflection.")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a grpc.aio server, whatever its shape."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler with the wrapping around it; unknown methods stay unknown."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_QUIET_METHODS):
            return handler
        return _wrap(method, handler)


def _wrap(method: str, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
    # `handler` is Any: the published types know the behaviours of the threaded server only.
    codecs = {
        "request_deserializer": _reader(handler.request_deserializer),
        "response_serializer": handler.response_serializer,
    }
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(_streaming(method, handler.stream_stream), **codecs)
    assert not handler.request_streaming
    assert not handler.response_streaming, f"{method}: no rpc of ours has this shape"
    return grpc.unary_unary_rpc_method_handler(_unary(method, handler.unary_unary), **codecs)


def _unary(method: str, behavior: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def serve(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        call, began_s = await _begin(method, context)
        error: BaseException | None = None
        try:
            return await behavior(_readable(request), context)
        except grpc.aio.AbortError as aborted:
            error = aborted
            raise
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
            await _abort(context, raised)
        finally:
            _log_call(call, began_s, error, context)

    return serve


def _streaming(method: str, behavior: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def serve(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        call, began_s = await _begin(method, context)
        error: BaseException | None = None
        responses = behavior(_Requests(requests), context)
        try:
            async for response in responses:
                yield response
        except grpc.aio.AbortError as aborted:
            error = aborted
            raise
        except (Exception, asyncio.CancelledError, GeneratorExit) as raised:
            error = raised
            await _abort(context, raised)
        finally:
            # The servicer's own `finally` must run now, not when the garbage collector finds it: it frees slots.
            await responses.aclose()  # type: ignore[attr-defined]
            _log_call(call, began_s, error, context)

    return serve


def _reader(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Let bytes that are no message reach the call as an error of ours: raised here, grpc would make it UNKNOWN."""

    def read(request: bytes) -> Any:
        try:
            return deserialize(request)
        except DecodeError:
            return BadConfig(f"wanted a request message, got {len(request)} bytes that are none")

    return read


def _readable(request: Any) -> Any:
    if isinstance(request, BadConfig):
        raise request
    return request


class _Requests:
    """The requests of a stream; raises the error that stands for one that cannot be read."""

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = requests
        # Made when it is wanted: grpc's warns when it was made for nothing.
        self._iterator: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._iterator is None:
            self._iterator = aiter(self._requests)
        return _readable(await anext(self._iterator))


async def _begin(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> tuple[Call, float]:
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    call = begin_call(method, metadata)
    await context.send_initial_metadata(((REQUEST_ID_HEADER, call.request_id),))
    return call, time.monotonic()


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: BaseException) -> None:
    """End the call with the error's status; a cancelled call has nobody to tell."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        raise error
    _, reason = code_and_reason(error)
    telemetry.REJECTIONS.add(1, {"reason": reason})
    status = rpc_status.to_status(status_of(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def _log_call(
    call: Call, began_s: float, error: BaseException | None, context: grpc.aio.ServicerContext[Any, Any]
) -> None:
    log = _log.bind(method=call.method, request_id=call.request_id, duration_s=round(time.monotonic() - began_s, 3))
    log = log.bind(**call.fields)
    if error is None:
        log.info("call", status="OK")
    elif isinstance(error, asyncio.CancelledError | GeneratorExit):
        log.info("call", status="CANCELLED")
    elif isinstance(error, grpc.aio.AbortError):
        # Not ours, then: a servicer of a library.
        log.info("call", status=_code_name(context.code()))
    else:
        code, reason = code_and_reason(error)
        if code is grpc.StatusCode.INTERNAL:
            log.error("call", status=code.name, reason=reason, exc_info=error)
        elif isinstance(error, NotReady):
            # Gateways ask again and again until it is ready.
            log.debug("call", status=code.name, reason=reason, message=message_of(error))
        else:
            log.info("call", status=code.name, reason=reason, message=message_of(error))


def _code_name(code: Any) -> str:
    """Name the code of a call; grpc.aio keeps it as the number that travels, the types say otherwise."""
    return next((known.name for known in grpc.StatusCode if code in (known, known.value[0])), str(code))
