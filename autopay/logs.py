"""Structured logs on stderr: text on a terminal, JSON lines elsewhere. Ids, names and faults, never a secret."""

import logging
import sys
from typing import Literal

import structlog

from autopay.domain.errors import Fault


def set_up_logging(log_format: Literal["auto", "json", "console"], level: int = logging.INFO) -> None:
    """Route structlog and the standard library's loggers through one renderer."""
    pretty = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _faults_without_traceback,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "httpx2", "httpcore2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _faults_without_traceback(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Replace the traceback of a `Fault` by its name and message: only a bug needs its traceback."""
    info = event.get("exc_info")
    fault = info[1] if isinstance(info, tuple) else info
    if isinstance(fault, Fault):
        del event["exc_info"]
        event["fault"] = f"{type(fault).__name__}: {fault}"
    return event
