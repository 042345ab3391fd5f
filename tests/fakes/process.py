"""A service process without a service: listens, turns healthy, ends on SIGTERM. `python -m tests.fakes.process`.

Which one of the stack it plays, it sees from its environment. FAKE_JOURNAL: a file that gets a line at each step.
FAKE_<NAME>=exit:CODE ends it soon after it serves, =refuse at its start, =stay ignores SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main() -> None:
    listen = {name: os.environ.get(f"DSM_{name}_LISTEN") for name in ("GATEWAY", "CODEC", "LM")}
    name, address = next((name, address) for name, address in listen.items() if address)
    behaviour = os.environ.get(f"FAKE_{name}", "")
    if behaviour == "refuse":
        sys.exit("error: no such model")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "stay" else lambda *_: stopping.set())
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(address)
    server.start()
    Path(os.environ["DSM_PORT_FILE"]).write_text(f"{port}\n")
    workers = f"{os.environ.get('DSM_GATEWAY_CODECS')} {os.environ.get('DSM_GATEWAY_LMS')}" if name == "GATEWAY" else ""
    journal(f"{name} listening {os.getpid()} {port} {workers}")
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    print(f"{name} serves", flush=True)
    if behaviour.startswith("exit:"):
        time.sleep(0.3)
        print(f"{name} is out of memory", flush=True)
        os._exit(int(behaviour[5:]))
    stopping.wait()
    journal(f"{name} stopping")


def journal(line: str) -> None:
    if path := os.environ.get("FAKE_JOURNAL"):
        with Path(path).open("a") as file:
            file.write(line.strip() + "\n")


if __name__ == "__main__":
    main()
