"""Metrics as a process shows them: every one of the table, few series, and never in the way of what is measured."""

import math
import re
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.runtime import Runtime

from activities.log import LogStep
from autopay.adapters.postgres.database.timing import OTHER as OTHER_STATEMENT
from autopay.adapters.postgres.database.timing import statement_name
from autopay.domain.errors import SettingsError
from autopay.domain.payment.notice import Announcement
from autopay.domain.payment.steps import LogInput, PaymentOrder
from autopay.domain.request import RequestResult, RequestStatus
from autopay.metrics import labels, recording, table
from autopay.metrics.gauges import Reading, Shown
from autopay.metrics.labels import OTHER, BoundedNames
from autopay.settings import Settings
from autopay.temporal import telemetry
from tests.unit.metrics.meters import BrokenMeter, KeptMeter, recorded_by


@pytest.fixture(scope="module")
def shown_at() -> Iterator[str]:
    """Where a runtime of this process shows its metrics."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    runtime = telemetry.runtime_at(address)
    with recorded_by(runtime.metric_meter):
        yield f"http://{address}/metrics"


def scraped(url: str) -> str:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own
        text: str = answer.read().decode()
    return text


def _record(metric: table.Metric, value: float, **given: str) -> None:
    match metric.kind:
        case "counter":
            recording.count(metric, round(value), **given)
        case "histogram":
            recording.observe(metric, value, **given)
        case "gauge":
            recording.set_gauge(metric, value, **given)


def test_the_endpoint_shows_every_metric_of_the_table_under_its_name(shown_at: str) -> None:
    for metric in table.ALL:
        _record(metric, 2, **dict.fromkeys(metric.labels, "x"))
    text = scraped(shown_at)
    assert set(re.findall(r"^(autopay_\w+)", text, re.MULTILINE)) == recording.names_of(table.ALL)
    for metric in table.ALL:
        sample = re.search(rf"^{metric.series[-1]}(\{{.*?\}})? ", text, re.MULTILINE)
        assert sample is not None
        assert set(re.findall(r'(\w+)="', sample[1] or "")) == set(metric.labels)
    assert f'autopay_rpc_seconds_bucket{{method="x",outcome="x",le="{table.BUCKETS[0]}"}} 0' in text


def test_a_gauge_without_a_value_is_nan(shown_at: str) -> None:
    recording.set_gauge(table.SESSION_LEFT, math.nan, agent="gone", currency="USDC")
    assert 'autopay_session_seconds_left{agent="gone",currency="USDC"} NaN' in scraped(shown_at)


def test_a_taken_port_is_refused_by_the_settings_name(shown_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "set_default", lambda *_, **__: pytest.fail("it was opened"))
    address = shown_at.removeprefix("http://").removesuffix("/metrics")
    with pytest.raises(SettingsError, match=rf"^AUTOPAY_METRICS={address}: Address already in use; every"):
        telemetry.open_telemetry(Settings(metrics=address), "api")


def test_without_an_address_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Runtime] = []
    monkeypatch.setattr(Runtime, "set_default", lambda runtime, **_: opened.append(runtime))
    assert telemetry.open_telemetry(Settings(), "api") is None
    assert len(opened) == 1, "one that forwards the core's log lines"


def test_a_thousand_names_have_few_labels() -> None:
    names = BoundedNames(3)
    assert [names.of(f"host-{number}") for number in range(1_000)] == ["host-0", "host-1", "host-2", *[OTHER] * 997]
    assert (names.of("host-1"), names.known("host-999")) == ("host-1", OTHER)


def test_statements_are_named_by_verb_and_table_never_by_a_value() -> None:
    assert statement_name("SELECT a.id \nFROM agents AS a WHERE x = %(x)s") == "SELECT agents"
    assert statement_name("SELECT EXTRACT(epoch FROM clock_timestamp()) FROM fences") == "SELECT fences"
    with_cte = "WITH write_1 AS \n(UPDATE priority_queue SET x=1) UPDATE transactions SET status=1"
    assert statement_name(with_cte) == "UPDATE priority_queue"
    assert statement_name("INSERT INTO audit_anchors (id) VALUES (%s)") == "INSERT audit_anchors"
    assert statement_name("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL timezone = 'UTC'") == "BEGIN"
    assert statement_name("SELECT 1") == "SELECT"
    assert statement_name("'; DROP TABLE agents") == OTHER_STATEMENT


# What a source shows


def test_agents_without_a_label_of_their_own_are_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "AGENTS", BoundedNames(1))
    with recorded_by(KeptMeter()) as meter:
        readings = []
        for agent, value in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
            readings += [Reading(metric, value, {"agent": agent}) for metric in (table.QUEUED, table.OLDEST_QUEUED)]
            readings.append(Reading(table.SESSION_LEFT, value, {"agent": agent, "currency": "USDC"}))
        Shown().show(readings)
    assert meter.values_of(table.QUEUED) == {("a",): 1, (OTHER,): 5}
    assert meter.values_of(table.OLDEST_QUEUED) == {("a",): 1, (OTHER,): 3}
    assert meter.values_of(table.SESSION_LEFT) == {("a", "USDC"): 1, (OTHER, "USDC"): 2}


def test_what_is_not_read_any_more_shows_nothing_or_no_value() -> None:
    with recorded_by(KeptMeter()) as meter:
        shown, of = Shown(), {"agent": "a", "currency": "USDC"}
        shown.show(
            [Reading(table.OPEN_ATOMIC, 5, of), Reading(table.SESSION_LEFT, 60, of), Reading(table.BACKUP_AGE, 9)]
        )
        shown.show([])
    assert meter.values_of(table.OPEN_ATOMIC) == {("a", "USDC"): 0}
    assert math.isnan(meter.values_of(table.SESSION_LEFT)[("a", "USDC")])
    assert math.isnan(meter.values_of(table.BACKUP_AGE)[()]), "0 would say that there is a fresh one"


# The step that counts


class _Requests:
    """Closes every request."""

    def __init__(self) -> None:
        self.requests = self
        self.closed: list[str] = []

    async def close(self, request_key: str, result: RequestResult, settled: Any) -> None:
        self.closed.append(request_key)


async def _announce(_: Announcement) -> None:
    """Nobody is told."""


def closing(host: str, status: RequestStatus = RequestStatus.DELIVERED, *, paid: bool = True) -> LogInput:
    """The end of a request to that host."""
    order = PaymentOrder(agent="buyer", request_id="r", request_key=f"ap_{host}", url=f"https://{host}/secret?key=1")
    facts = {"transaction": "signature", "price_atomic": 1_000, "currency": "USDC"} if paid else {}
    return LogInput(
        order=order,
        result=RequestResult.model_validate({"request_id": "r", "status": status, "workflow_id": "w", **facts}),
    )


@pytest.fixture
def few_sellers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sellers have a label of their own."""
    monkeypatch.setattr(labels, "SELLERS", BoundedNames(3))


@pytest.mark.usefixtures("few_sellers")
async def test_ends_are_counted_by_agent_outcome_and_the_sellers_that_were_paid() -> None:
    ledger = _Requests()
    step = LogStep(ledger, 600, _announce)  # type: ignore[arg-type]
    with recorded_by(KeptMeter()) as meter:
        for number in range(1_000):
            await step.log(closing(f"asked-{number}.example", RequestStatus.REFUSED, paid=False))
            await step.log(closing(f"paid-{number}.example"))
    counted = meter.values_of(table.REQUESTS_ENDED)
    assert counted[("buyer", OTHER, "refused")] == 1_000
    assert counted[("buyer", "paid-0.example:443", "delivered")] == 1
    assert counted[("buyer", OTHER, "delivered")] == 997
    assert len(counted) == 5
    assert meter.values_of(table.PAID)[("buyer", OTHER, "USDC")] == 997_000
    assert len(ledger.closed) == 2_000


async def test_a_meter_that_raises_is_told_of_once_and_hinders_nothing() -> None:
    ledger = _Requests()
    step = LogStep(ledger, 600, _announce)  # type: ignore[arg-type]
    with capture_logs() as logs, recorded_by(BrokenMeter()):
        for number in range(3):
            await step.log(closing(f"host-{number}.example"))
        with pytest.raises(KeyError), recording.timed(table.SQL_SECONDS, statement="SELECT agents"):
            raise KeyError("the block's own")
    assert len(ledger.closed) == 3
    told = [each["metric"] for each in logs if each["event"] == "a metric is not recorded"]
    assert sorted(told) == sorted(
        ["autopay_info", "autopay_requests_ended", "autopay_paid_atomic", "autopay_sql_seconds"]
    )
