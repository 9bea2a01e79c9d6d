"""Structured logs on stderr: text on a terminal, JSON lines elsewhere. Ids, names and faults, never a secret.

Each line has its ids as fields: `agent`, `request_id`, `workflow_id`, `run_id`, `step`, `attempt`. Temporal's own lines
and those of its core have theirs as fields, too. In JSON an exception is a field, `exception`, with its frames and
without the values of variables.
"""

import logging
import sys
from collections.abc import Iterable
from typing import Literal

import structlog
from temporalio import activity, workflow

from autopay.domain.errors import Fault
from autopay.domain.text.secrets import Secrets

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

MAX_FRAMES = 20
"""How many frames of an exception a line has, the innermost ones."""

TEMPORAL_FIELDS = {"activity_type": "step", "attempt": "attempt", "workflow_id": "workflow_id", "run_id": "run_id"}
"""What is kept of the SDK's own fields, and what it is called here."""

CHATTY = ("httpx", "httpcore", "httpx2", "httpcore2", "alembic", "uvicorn")
"""Loggers that write a line for each call, with its URL, or for each part that they load: their warnings are enough."""


def set_up_logging(log_format: LogFormat, level: LogLevel = "info", secrets: Iterable[str] = ()) -> None:
    """Route structlog and the standard library's loggers through one renderer.

    `secrets`: texts that no line shows, whoever writes it, such as this process's passwords and keys.
    """
    pretty = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _temporal_fields],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _faults_without_traceback,
                _exception_as_text if pretty else _exception_as_fields,
                Scrubbed(Secrets(secrets)),
                structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = False
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class Scrubbed:
    """Leaves secrets out of every field of a line, however deep, and of its message."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __call__(
        self, _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """The line without secrets."""
        return {str(name): self._without(value) for name, value in event.items()}

    def _without(self, value: object) -> object:
        if isinstance(value, bool | int | float | None):
            return value
        if isinstance(value, dict):
            return {str(name): self._without(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._without(inner) for inner in value]
        return self._secrets.left_out_of(str(value))


_exception_as_text = structlog.processors.format_exc_info
_exception_as_fields = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=MAX_FRAMES)
)


def _temporal_fields(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Take what Temporal's SDK says beside its message: of an activity or a workflow, and what its core adds."""
    record = event["_record"]
    for name in ("temporal_activity", "temporal_workflow"):
        said = getattr(record, name, {})
        event.update({ours: said[theirs] for theirs, ours in TEMPORAL_FIELDS.items() if theirs in said})
    of_core = getattr(record, "temporal_log", None)
    if of_core is not None:
        event.update({name: value for name, value in of_core.fields.items() if name not in event})
    return event


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
