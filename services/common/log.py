"""JSON logs on stderr through structlog: one line a call, never audio, text or tokens."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.contextvars import merge_contextvars

from services.common.errors import ConfigError

FORMATS = ("json", "console")


def configure_logging(level: str, log_format: str, service: str) -> None:
    """Set up structlog for this process. Called once, by `serve`.

    level: debug, info, warning or error. log_format: one of FORMATS. Raises ConfigError on anything else.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigError(f"log level: wanted debug, info, warning or error, got {level!r}")
    if log_format not in FORMATS:
        raise ConfigError(f"log format: wanted one of {', '.join(FORMATS)}, got {log_format!r}")

    def add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default shows local variables, in which there may be keys, audio and text.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[
            merge_contextvars,
            add_service,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # The console renderer prints tracebacks itself; as JSON they must become a string first.
            *([structlog.processors.format_exc_info] if log_format == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
