"""The synchronous client with the methods of the asyncio one, each in a thread: so that every test is of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Self

from dsm_stt_client import Client, Event, Stream


class ThreadedClient:
    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = Client(*args, **options)

    async def transcribe(self, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(self._client.transcribe, *args, **options)

    async def list_models(self, **options: Any) -> Any:
        return await asyncio.to_thread(self._client.list_models, **options)

    def stream(self, *args: Any, **options: Any) -> ThreadedStream:
        return ThreadedStream(self._client.stream(*args, **options))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._client.close)


class ThreadedStream:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._stream.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._stream.close)

    async def send(self, audio: bytes, **options: Any) -> None:
        await asyncio.to_thread(self._stream.send, audio, **options)

    def send_from(self, chunks: AsyncIterable[bytes]) -> None:
        loop = asyncio.get_running_loop()
        iterator = aiter(chunks)

        def in_thread() -> Any:
            while True:
                coroutine = anext(iterator, None)
                chunk = asyncio.run_coroutine_threadsafe(_await(coroutine), loop).result()
                if chunk is None:
                    return
                yield chunk

        self._stream.send_from(in_thread())

    async def flush(self, **options: Any) -> Any:
        return await asyncio.to_thread(self._stream.flush, **options)

    async def update(self, **options: Any) -> Any:
        return await asyncio.to_thread(self._stream.update, **options)

    async def silence(self, duration_s: float) -> None:
        await asyncio.to_thread(self._stream.silence, duration_s)

    async def keep_alive(self) -> None:
        await asyncio.to_thread(self._stream.keep_alive)

    def finish(self) -> None:
        self._stream.finish()

    def received(self) -> list[Event]:
        return self._stream.received()

    async def close(self) -> None:
        await asyncio.to_thread(self._stream.close)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await asyncio.to_thread(next, self._stream, None)
        if event is None:
            raise StopAsyncIteration
        return event


async def _await(awaitable: Any) -> Any:
    return await awaitable
