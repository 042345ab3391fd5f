"""What the interceptor does around a call: ids, one log line, statuses. Over servicers that do as each test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from services.common import errors
from services.common.call import Call, current_call
from services.common.grpc_status import INTERNAL_MESSAGE, MOST_MESSAGE_CHARACTERS
from services.common.interceptors import CallInterceptor
from tests.speech import reason
from tests.worker_calls import until

Unary = Callable[[bytes, Any], Awaitable[bytes]]
Stream = Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]
SECRET = "sk-do-not-log-me"


class Service:
    """A server with one rpc of each shape that the services have, and its log."""

    def __init__(self, channel: grpc.aio.Channel, logs: list[Any]) -> None:
        self.channel = channel
        self.logs = logs
        self.unary = channel.unary_unary("/test.Test/Unary")
        self.stream = channel.stream_stream("/test.Test/Stream")

    async def line(self) -> Any:
        """Return the call's line, once it is there; it must be the only one."""
        await until(lambda: self.logs)
        (line,) = self.logs
        return line


@asynccontextmanager
async def serving(unary: Unary | None = None, stream: Stream | None = None) -> AsyncIterator[Service]:
    """Serve these behaviours behind the interceptor."""
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    codecs = {"request_deserializer": bytes, "response_serializer": bytes}
    handlers: dict[str, Any] = {}
    if unary is not None:
        handlers["Unary"] = grpc.unary_unary_rpc_method_handler(unary, **codecs)
    if stream is not None:
        handlers["Stream"] = grpc.stream_stream_rpc_method_handler(stream, **codecs)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with capture_logs() as logs:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Service(channel, logs)
        await server.stop(None)


@pytest.fixture(autouse=True)
def _every_level() -> Iterator[None]:
    """Another test may have set a level in this process."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def raising(error: BaseException) -> tuple[Unary, Stream]:
    """Make an rpc of each shape that fails like this; the stream says something first."""

    async def unary(_request: bytes, _context: Any) -> bytes:
        raise error

    async def stream(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            raise error

    return unary, stream


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def talk(service: Service, *requests: bytes, **call: Any) -> list[bytes]:
    """Send requests on a stream; returns the responses."""

    async def send() -> AsyncIterator[bytes]:
        for request in requests:
            yield request

    return [response async for response in service.stream(send(), **call)]


async def echo(request: bytes, _context: Any) -> bytes:
    return request


async def echo_all(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def test_a_call_is_one_line() -> None:
    async with serving(echo, echo_all) as service:
        assert await service.unary(b"x", metadata=[("x-request-id", "r-1")]) == b"x"
        line = await service.line()
        assert line.pop("duration_s") >= 0
        assert line == {
            "event": "call",
            "log_level": "info",
            "method": "/test.Test/Unary",
            "request_id": "r-1",
            "status": "OK",
        }
        service.logs.clear()
        assert await talk(service, b"x", b"y", metadata=[("x-request-id", "r-2")]) == [b"x", b"y"]
        line = await service.line()
        assert (line["method"], line["request_id"], line["status"]) == ("/test.Test/Stream", "r-2", "OK")


@pytest.mark.parametrize("given", ["abc", "A.b_c-9", "x" * 128])
async def test_a_callers_request_id_is_kept_and_given_back(given: str) -> None:
    async with serving(echo) as service:
        call = service.unary(b"x", metadata=[("x-request-id", given)])
        assert dict(await call.initial_metadata())["x-request-id"] == given
        assert (await service.line())["request_id"] == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, 'quote"', "a/b", None])
async def test_a_request_id_that_could_do_harm_is_replaced(given: str | None) -> None:
    async with serving(echo) as service:
        call = service.unary(b"x", metadata=[("x-request-id", given)] if given is not None else None)
        request_id = dict(await call.initial_metadata())["x-request-id"]
        assert len(request_id) == 32
        assert set(request_id) <= set("0123456789abcdef")
        assert (await service.line())["request_id"] == request_id


async def test_a_servicer_sees_its_call_and_adds_to_its_line() -> None:
    seen: list[Call] = []

    async def unary(request: bytes, _context: Any) -> bytes:
        seen.append(current_call())
        current_call().fields.update(model="tiny", words=3)
        return request

    async def stream(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            seen.append(current_call())
        current_call().fields["words"] = 4

    async with serving(unary, stream) as service:
        metadata = [("x-request-id", "r")]
        await service.unary(b"x", metadata=metadata)
        line = await service.line()
        assert (line["model"], line["words"]) == ("tiny", 3)
        service.logs.clear()
        await talk(service, b"x", metadata=metadata)
        assert (await service.line())["words"] == 4
    for call, method in zip(seen, ("Unary", "Stream"), strict=True):
        assert (call.method, call.request_id) == (f"/test.Test/{method}", "r")


async def test_calls_at_once_do_not_see_each_other() -> None:
    arrived = asyncio.Barrier(8)

    async def unary(request: bytes, _context: Any) -> bytes:
        current_call().fields["mine"] = request.decode()
        await arrived.wait()
        assert current_call().request_id == request.decode()
        return request

    async with serving(unary) as service:
        await asyncio.gather(*(service.unary(f"r{n}".encode(), metadata=[("x-request-id", f"r{n}")]) for n in range(8)))
        await until(lambda: len(service.logs) == 8)
        assert all(line["request_id"] == line["mine"] for line in service.logs)


async def test_no_metadata_is_logged_but_the_request_id() -> None:
    unary, stream = raising(errors.ApiKeyInvalid("wanted a key"))
    async with serving(unary, stream) as service:
        metadata = [("authorization", f"Bearer {SECRET}"), ("x-api-key", SECRET), ("x-key-bin", SECRET.encode())]
        await failed(service.unary(b"x", metadata=metadata))
        await failed(talk(service, b"x", metadata=metadata))
        await until(lambda: len(service.logs) == 2)
        assert SECRET not in json.dumps(service.logs, default=repr)


async def test_an_error_of_ours_reaches_the_caller_as_the_table_says_and_the_log() -> None:
    error = errors.NoCapacity("no slot is free", retry_after_s=1)
    unary, stream = raising(error)
    async with serving(unary, stream) as service:
        for call in (service.unary(b"x"), talk(service, b"x")):
            answer = await failed(call)
            assert (answer.code(), answer.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot is free")
            assert reason(answer) == "NO_CAPACITY"
            line = await service.line()
            assert line["log_level"] == "info"
            assert (line["status"], line["reason"], line["message"]) == (
                "RESOURCE_EXHAUSTED",
                "NO_CAPACITY",
                "no slot is free",
            )
            service.logs.clear()


@pytest.mark.parametrize("character", ["a", "語"])
async def test_a_message_that_quotes_too_much_is_cut_and_the_error_still_arrives(character: str) -> None:
    # A model's name of 100 KB used to reach its caller as "received metadata size exceeds limit".
    unary, stream = raising(errors.UnknownModel(f"wanted tiny, got {character * 100_000!r}"))
    async with serving(unary, stream) as service:
        for call in (service.unary(b"x"), talk(service, b"x")):
            answer = await failed(call)
            assert (answer.code(), reason(answer)) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL")
            assert len(answer.details() or "") == MOST_MESSAGE_CHARACTERS + 2
            assert len((await service.line())["message"]) == MOST_MESSAGE_CHARACTERS + 2
            service.logs.clear()


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("a path /srv/x"), errors.UpstreamFault("worker 7 refused"), TimeoutError("slow")],
)
async def test_a_bug_shows_the_caller_nothing_and_the_operator_everything(error: Exception) -> None:
    unary, stream = raising(error)
    async with serving(unary, stream) as service:
        for call in (service.unary(b"x"), talk(service, b"x")):
            answer = await failed(call)
            assert (answer.code(), answer.details()) == (grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)
            assert reason(answer) == "INTERNAL"
            assert str(error) not in repr(answer.trailing_metadata())
            line = await service.line()
            assert (line["log_level"], line["status"]) == ("error", "INTERNAL")
            assert line["exc_info"] is error
            service.logs.clear()


async def test_a_worker_that_is_not_ready_is_asked_again_and_again_and_says_little() -> None:
    unary, _ = raising(errors.NotReady("still loading"))
    async with serving(unary) as service:
        assert reason(await failed(service.unary(b"x"))) == "NOT_READY"
        assert (await service.line())["log_level"] == "debug"


async def test_what_was_said_before_an_error_is_delivered() -> None:
    _, stream = raising(errors.IdleTimeout("too quiet"))
    async with serving(stream=stream) as service:
        call = service.stream()
        await call.write(b"x")
        assert await call.read() == b"x"
        assert reason(await failed(call.read())) == "IDLE_TIMEOUT"


async def test_a_servicer_that_aborts_by_itself_has_its_way_and_the_line_says_so() -> None:
    # The line used to say OK.
    async def unary(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
        raise AssertionError

    async def stream(_requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    async with serving(unary, stream) as service:
        for call in (service.unary(b"x"), talk(service, b"x")):
            answer = await failed(call)
            assert (answer.code(), answer.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")
            line = await service.line()
            assert (line["status"], line["log_level"]) == ("PERMISSION_DENIED", "info")
            service.logs.clear()


@pytest.mark.parametrize("where", ["waits", "between two responses"])
async def test_a_caller_that_leaves_ends_the_servicer_before_the_line_is_written(where: str) -> None:
    order: list[str] = []

    async def stream(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            if where == "waits":
                await asyncio.Event().wait()
            while True:
                yield bytes(100_000)
        finally:
            await asyncio.sleep(0)
            order.append(f"clean, {len(service.logs)} lines")

    async with serving(stream=stream) as service:
        call = service.stream()
        assert await call.read() == b"first"
        call.cancel()
        line = await service.line()
        assert (line["status"], line["log_level"]) == ("CANCELLED", "info")
        assert order == ["clean, 0 lines"]


async def test_a_unary_caller_that_leaves_is_logged_as_such() -> None:
    began = asyncio.Event()

    async def unary(_request: bytes, _context: Any) -> bytes:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(unary) as service:
        call = service.unary(b"x")
        await began.wait()
        call.cancel()
        assert (await service.line())["status"] == "CANCELLED"


async def test_probes_and_unknown_methods_are_not_logged() -> None:
    async with serving(echo) as service:
        stub = health_pb2_grpc.HealthStub(service.channel)
        for _ in range(3):
            await stub.Check(health_pb2.HealthCheckRequest())
        answer = await failed(service.channel.unary_unary("/test.Test/Nothing")(b"x"))
        assert answer.code() is grpc.StatusCode.UNIMPLEMENTED
        await service.unary(b"x")
        assert (await service.line())["method"] == "/test.Test/Unary"
