"""The one place where calls get their request id, their log line, and their status when they fail.

Servicers raise; `CallInterceptor` maps what they raise by `grpc_status`, aborts the call and logs it whole. Nothing
else aborts calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from services.common.call import REQUEST_ID_HEADER, Call, begin_call
from services.common.errors import BadConfig, NotReady
from services.common.grpc_status import code_and_reason, message_of, status_of
from services.common.telemetry import metrics, spans

_log = structlog.get_logger()

# Probes every few seconds would drown the rest.
_QUIET_METHODS = ("/grpc.health.v1.Health/", "/grpc.reflection.")

Context = grpc.aio.ServicerContext[Any, Any]
Begin = Callable[[Context], Awaitable[Call]]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a grpc.aio server, whatever its shape."""

    def __init__(self, service: str = "", *, traced: bool = False) -> None:
        """service: for metrics. traced: each call is one session's, and gets a span."""
        self._service = service
        self._traced = traced

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
        return _wrap(partial(self._begin, method), handler)

    async def _begin(self, method: str, context: Context) -> Call:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        call = begin_call(method, metadata, self._service)
        if self._traced:
            call.span = spans.begin_call(method, metadata)
            call.span.set_attribute("dsm_stt.request_id", call.request_id)
        await context.send_initial_metadata(((REQUEST_ID_HEADER, call.request_id),))
        return call


def _wrap(begin: Begin, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
    # `handler` is Any: the published types know the behaviours of the threaded server only.
    codecs = {
        "request_deserializer": _reader(handler.request_deserializer),
        "response_serializer": handler.response_serializer,
    }
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(_streaming(begin, handler.stream_stream), **codecs)
    assert not handler.request_streaming
    assert not handler.response_streaming, "no rpc of ours has this shape"
    return grpc.unary_unary_rpc_method_handler(_unary(begin, handler.unary_unary), **codecs)


def _unary(begin: Begin, behavior: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def serve(request: Any, context: Context) -> Any:
        call = await begin(context)
        error: BaseException | None = None
        try:
            return await behavior(_readable(request), context)
        except grpc.aio.AbortError as aborted:
            error = aborted
            raise
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
            await _abort(call, context, raised)
        finally:
            _end(call, error, context)

    return serve


def _streaming(begin: Begin, behavior: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def serve(_: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        call = await begin(context)
        error: BaseException | None = None
        responses = behavior(_Requests(context), context)
        try:
            async for response in responses:
                yield response
        except grpc.aio.AbortError as aborted:
            error = aborted
            raise
        except (Exception, asyncio.CancelledError, GeneratorExit) as raised:
            error = raised
            await _abort(call, context, raised)
        finally:
            # The servicer's own `finally` must run now, not when the garbage collector finds it: it frees slots.
            await responses.aclose()  # type: ignore[attr-defined]
            _end(call, error, context)

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

    def __init__(self, context: Context) -> None:
        self._context = context

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        # What grpc's own iterator does too, without its coroutines in between.
        request = await self._context.read()
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        return _readable(request)


async def _abort(call: Call, context: Context, error: BaseException) -> None:
    """End the call with the error's status; a cancelled call has nobody to tell."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        raise error
    _, reason = code_and_reason(error)
    # Gateways ask a worker that loads again and again.
    if not isinstance(error, NotReady):
        # The model of a request that asked for an unknown one is in no field.
        labels = {"service": call.service, "model": str(call.fields.get("model", "")), "reason": reason}
        metrics.REJECTIONS.add(1, labels)
    status = rpc_status.to_status(status_of(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def _end(call: Call, error: BaseException | None, context: Context) -> None:
    spans.end_call(call.span, *_code_and_reason(error, context), call.fields)
    _log_call(call, error, context)


def _code_and_reason(error: BaseException | None, context: Context) -> tuple[int, str]:
    if error is None:
        return grpc.StatusCode.OK.value[0], ""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # The caller's own wish: no fault of anybody.
        return grpc.StatusCode.CANCELLED.value[0], ""
    if isinstance(error, grpc.aio.AbortError):
        return grpc.StatusCode.UNKNOWN.value[0], _code_name(context.code())
    code, reason = code_and_reason(error)
    return code.value[0], reason


def _log_call(call: Call, error: BaseException | None, context: Context) -> None:
    duration_s = round(time.monotonic() - call.began_s, 3)
    log = _log.bind(method=call.method, request_id=call.request_id, duration_s=duration_s)
    if trace_id := spans.trace_id(call.span):
        log = log.bind(trace_id=trace_id)
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
