"""A TCP proxy between a gateway and a worker that does to their connections what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable

_READ_BYTES = 64 * 1024
# With this option a close is a reset: the other side gets RST, and no FIN.
_LINGER_NOT = struct.pack("ii", 1, 0)


class TcpProxy:
    """Forwards connections to wherever the target is at the moment."""

    def __init__(self, target: Callable[[], str | None]) -> None:
        """target: returns host:port, None while there is nobody to connect to."""
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        # When the target last said something that reached the other side.
        self.heard_s = 0.0

    @property
    def address(self) -> str:
        """Return the host:port to connect to."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def start(self) -> None:
        """Listen on any free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.reset()

    def partition(self) -> None:
        """Let nothing through, and say nothing about it: as when a cable is pulled."""
        self._flowing.clear()

    def heal(self) -> None:
        """Let everything through again, what was sent meanwhile included, as TCP would send it again."""
        self._flowing.set()

    def reset(self) -> None:
        """Reset every connection, on both sides."""
        for writer in list(self._writers):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            await self._flowing.wait()
            host, _, port = (self._target() or "").rpartition(":")
            if host:
                answers, there = await asyncio.open_connection(host, int(port))
                self._writers.add(there)
                await asyncio.gather(self._pump(reader, there, False), self._pump(answers, writer, True))
        except (OSError, asyncio.CancelledError):
            # Cancelled at the end of the run, where asyncio would print it.
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        while piece := await reader.read(_READ_BYTES):
            await self._flowing.wait()
            writer.write(piece)
            await writer.drain()
            if answers:
                self.heard_s = time.monotonic()
        await self._flowing.wait()
        # One side has closed: neither service has a use for half a connection.
        with contextlib.suppress(OSError):
            writer.close()
