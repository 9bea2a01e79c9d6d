"""Log lines: ids and exceptions are fields, and secrets are in none of them."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from temporalio import activity
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from autopay.domain.errors import ChainUnavailable
from autopay.logs import LogLevel, set_up_logging
from autopay.settings import Settings
from autopay.settings.known_secrets import known_secrets
from autopay.step_logs import StepLogs

Lines = Callable[[], list[dict[str, Any]]]
KEY = "c2VjcmV0IGtleSBvZiB0aGUgbGVkZ2VyLCAzMiBieXQ="


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """The JSON lines that were written since it was called last; other tests' logging is as before."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


def raised(error: Exception) -> Exception:
    """The error with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def log_as(level: LogLevel = "info", *secrets: str) -> structlog.stdlib.BoundLogger:
    set_up_logging("json", level, secrets)
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("autopay.test")
    return logger


def test_an_exception_is_a_field_without_the_values_of_variables(written: Lines) -> None:
    log_as().error("failed", exc_info=raised(ValueError("hunter1")))
    (line,) = written()
    assert (line["event"], line["level"]) == ("failed", "error")
    (told,) = line["exception"]
    assert (told["exc_type"], told["exc_value"]) == ("ValueError", "hunter1")
    assert told["frames"][-1]["name"] == "raised"
    assert "locals" not in json.dumps(line)


def test_a_fault_is_its_name_and_message(written: Lines) -> None:
    log_as().warning("waits", exc_info=raised(ChainUnavailable("the node says 503")))
    (line,) = written()
    assert line["fault"].startswith("ChainUnavailable: ")
    assert "exception" not in line


SECRETS = [
    ("keyring=0:" + KEY, KEY),
    (f"Authorization: Bearer {KEY}", KEY),
    ("postgresql://autopay:pa55word@db.example/autopay", "pa55word"),
    ("GET https://rpc.example/?api-key=0123456789abcdef failed", "0123456789abcdef"),
    ('{"password": "open sesame"}', "open"),
    ("PAYMENT-SIGNATURE: eyJ4NDAyVmVyc2lvbiI6Mn0", "eyJ4NDAy"),
    ("X-PAYMENT=eyJ4NDAyVmVyc2lvbiI6Mn0", "eyJ4NDAy"),
    ("set-cookie: session=abcdefgh", "abcdefgh"),
    ("autopay_gateway_token = abcdefghijklmnop", "abcdefghijklmnop"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_what_has_a_secrets_form_is_shown_nowhere(written: Lines, text: str, secret: str) -> None:
    log = log_as()
    log.info(text, detail=text, deep={"list": [text, {"inner": text}]})
    logging.getLogger("some.library").warning("it says %s", text)
    log.error("failed", exc_info=raised(RuntimeError(text)))
    lines = written()
    assert len(lines) == 3
    assert secret not in json.dumps(lines)


def test_the_secrets_of_this_process_are_shown_in_no_form(written: Lines, no_settings: None) -> None:
    settings = Settings(
        database_url="postgresql://autopay:p%40ssword1@db.example/autopay",
        solana_rpc_url="https://node.example/v2/0123456789abcdef0123",
        solana_ws_url="wss://node.example/?key=fedcba9876543210",
        keyring=f"0:{KEY}",
        gateway_token="a-token-of-16-letters",
    )
    secrets = ("p%40ssword1", "p@ssword1", "0123456789abcdef0123", "fedcba9876543210", KEY, "a-token-of-16-letters")
    log_as("info", *known_secrets(settings)).info("; ".join(secrets), all=secrets)
    text = json.dumps(written())
    assert [each for each in secrets if each in text] == []


def test_nothing_that_is_no_secret_is_hidden(written: Lines) -> None:
    harmless = {"url": "https://api.example.com/paid?topic=fees", "transaction": "5" * 88, "request_id": "monday-1"}
    log_as().info("request ended", **harmless, ms=7, final=True, none=None)
    (line,) = written()
    assert {name: line[name] for name in harmless} == harmless
    assert (line["ms"], line["final"], line["none"]) == (7, True, None)


def test_what_the_sdk_says_beside_its_message_is_fields(written: Lines) -> None:
    log_as()
    said = {"activity_type": "submit", "attempt": 3, "workflow_id": "pay/trader/one", "run_id": "r", "namespace": "n"}
    logging.getLogger("temporalio.activity").warning("slow", extra={"temporal_activity": said})
    of_core = SimpleNamespace(fields={"run_id": "r", "failure": "nondeterminism", "event": "not the message"})
    logging.getLogger("temporalio.core").warning("Failing workflow task", extra={"temporal_log": of_core})
    ours, core = written()
    assert (ours["step"], ours["attempt"], ours["workflow_id"], ours["run_id"]) == ("submit", 3, "pay/trader/one", "r")
    assert (core["event"], core["failure"]) == ("Failing workflow task", "nondeterminism")


@activity.defn
async def submit() -> str:
    return "done"


async def step_told(written: Lines, workflow_id: str, level: LogLevel, ends: Exception | None) -> dict[str, Any]:
    """The line of a step of that workflow which ends with an exception, or with a result."""

    class Ending(ActivityInboundInterceptor):
        def __init__(self) -> None:
            pass

        async def execute_activity(self, _input: ExecuteActivityInput) -> str:
            if ends is not None:
                raise ends
            return "done"

    log_as(level)
    environment = ActivityEnvironment()
    environment.info = replace(
        environment.info, activity_type="submit", workflow_id=workflow_id, workflow_run_id="r", attempt=2
    )
    step = StepLogs().intercept_activity(Ending())
    given = ExecuteActivityInput(fn=submit, args=[], executor=None, headers={})
    with nullcontext() if ends is None else pytest.raises(type(ends)):
        await environment.run(step.execute_activity, given)
    (line,) = written()
    return line


PAYMENT = {"agent": "trader", "request_id": "a/b", "step": "submit", "attempt": 2, "run_id": "r"}


@pytest.mark.parametrize(
    ("ends", "level", "event"),
    [
        (None, "info", "step done"),
        (ChainUnavailable("503"), "warning", "step failed"),
        (KeyError("a bug"), "error", "step failed by a bug"),
    ],
)
async def test_each_step_of_a_payment_is_one_line_with_its_ids(
    written: Lines, ends: Exception | None, level: str, event: str
) -> None:
    line = await step_told(written, "pay/trader/a/b", "info", ends)
    assert (line["event"], line["level"]) == (event, level)
    assert {name: line[name] for name in PAYMENT} == PAYMENT
    assert line["ms"] >= 0
    assert ("exception" in line) == (level == "error")


async def test_what_an_agent_does_for_itself_is_told_in_detail_only(written: Lines) -> None:
    line = await step_told(written, "agent/trader", "debug", None)
    assert (line["level"], line["agent"]) == ("debug", "trader")
