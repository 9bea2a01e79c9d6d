"""The queries that are measured, each built by the code that the command runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import ClauseElement, Connection, text

from autopay.adapters.postgres.maintenance.maintenance import prunable_query
from autopay.adapters.postgres.reports.events import PAGE as EVENTS
from autopay.adapters.postgres.reports.events import events_query
from autopay.adapters.postgres.reports.list_queries import (
    approvals_query,
    balances_query,
    requests_query,
    seller_times_query,
    sellers_query,
)
from autopay.adapters.postgres.reports.queries import payments_query, spend_query, trail_query
from autopay.domain.report.filter import Cursor, Filter, SpendBy
from benchmarks.ledger_rows import BUSY_AGENT, RARE_ENDPOINT

PAGE = 50


@dataclass(frozen=True)
class Probe:
    """A query; measured a second time without `index`, or with the view as it was before revision 0007."""

    title: str
    statement: ClauseElement
    index: str | None = None
    old_view: bool = False


def probes(connection: Connection) -> Mapping[str, Sequence[Probe]]:
    """What is measured, by heading."""
    agent = connection.scalar(text("SELECT id FROM agents WHERE name = :name"), {"name": BUSY_AGENT})
    quiet = connection.scalar(text("SELECT id FROM agents WHERE name = 'agent-07'"))
    if agent is None or quiet is None:
        raise LookupError("this database has other rows than the benchmark's: give it a --home of its own")
    return {
        "The query of `audit_trail_view`": _document(agent, quiet),
        "`ledger show`": _payments(agent, quiet),
        "`ledger show --kind all`": _trail(agent),
        "`ledger spend`": _spend(agent),
        "`ledger follow`": _follow(connection, agent, quiet),
        "`ledger prune`": _prune(),
        "The API and the page": _api(agent, quiet),
    }


def _document(agent: UUID, quiet: UUID) -> Sequence[Probe]:
    query = "SELECT * FROM audit_trail_view WHERE agent_id = :agent ORDER BY created_at DESC LIMIT :shown"

    def of(title: str, agent_id: UUID, shown: int, *, before: bool = False) -> Probe:
        return Probe(title, text(query).bindparams(agent=agent_id, shown=shown), old_view=before)

    return [
        of("`WHERE agent_id = … ORDER BY created_at DESC LIMIT 20`", agent, 20, before=True),
        of("`LIMIT 100`", agent, 100),
        of("`LIMIT 1000`", agent, 1_000),
        of("`LIMIT 100`, an agent with 25,000 payments", quiet, 100, before=True),
    ]


def _place(days: float) -> Cursor:
    return Cursor(at=datetime.now(UTC) - timedelta(days=days), row_id=UUID(int=0))


def _payments(agent: UUID, quiet: UUID) -> Sequence[Probe]:
    def of(
        title: str, wanted: Filter, agent_id: UUID | None = None, after: Cursor | None = None, index: str | None = None
    ) -> Probe:
        return Probe(title, payments_query(wanted, agent_id, after, PAGE), index)

    now = datetime.now(UTC)
    everything = Filter()
    month = Filter(since=now - timedelta(days=31), until=now - timedelta(days=30))
    return [
        of("first page", everything, index="ix_transactions_created_at"),
        of("page after 500,000 payments", everything, after=_place(182)),
        of("page after 990,000 payments", everything, after=_place(361.35)),
        of("`--agent`, first page", everything, agent),
        of("`--agent`, page after 490,000 payments", everything, agent, _place(358)),
        of("`--agent` of one with few payments", everything, quiet),
        of("a day a month ago", month),
        of("`--status PENDING`", Filter(statuses=("PENDING",)), index="ix_transactions_status_created_at"),
        of("`--status PENDING --agent`", Filter(statuses=("PENDING",)), agent),
        of("`--status FAILED`", Filter(statuses=("FAILED",))),
        of("`--status FAILED --status RETRYING`", Filter(statuses=("FAILED", "RETRYING"))),
        of("`--endpoint /api/feed-12`", Filter(endpoint="/api/feed-12")),
        of("`--endpoint '/api/feed-*'`", Filter(endpoint="/api/feed-*")),
        of(f"`--endpoint {RARE_ENDPOINT}`, 20 in all", Filter(endpoint=RARE_ENDPOINT)),
        of("`--endpoint '/nothing*'`", Filter(endpoint="/nothing*")),
        of(f"`--endpoint {RARE_ENDPOINT} --agent`", Filter(endpoint=RARE_ENDPOINT), agent),
        of("`--min 0.0059`", Filter(min_atomic=5_900)),
        of("`--min 100`: there is none", Filter(min_atomic=100_000_000)),
        Probe("`ledger export`, a batch in the middle", payments_query(everything, None, _place(182), 1_001)),
    ]


def _trail(agent: UUID) -> Sequence[Probe]:
    def of(
        title: str, wanted: Filter, agent_id: UUID | None = None, after: Cursor | None = None, index: str | None = None
    ) -> Probe:
        return Probe(title, trail_query(wanted, agent_id, after, PAGE), index)

    everything = Filter()
    return [
        of("first page", everything, index="ix_api_request_logs_created_at"),
        of("first page, the same", everything, index="ix_balance_snapshots_snapshot_at"),
        of("page deep in the past", everything, after=_place(358)),
        of("`--agent`, first page", everything, agent),
        of("`--agent`, page deep in the past", everything, agent, _place(358)),
        of("`--agent --status FAILED`", Filter(statuses=("FAILED",)), agent),
        of("`--endpoint /api/feed-12`", Filter(endpoint="/api/feed-12")),
        of(f"`--endpoint {RARE_ENDPOINT}`", Filter(endpoint=RARE_ENDPOINT)),
    ]


def _spend(agent: UUID) -> Sequence[Probe]:
    now = datetime.now(UTC)
    day, everything = Filter(since=now - timedelta(days=1)), Filter()
    return [
        Probe("of the last day", spend_query(day, None, None)),
        Probe("of the last day, `--by endpoint`", spend_query(day, None, SpendBy.ENDPOINT)),
        Probe("of all time", spend_query(everything, None, None), index="ix_transactions_created_at"),
        Probe("of all time, `--agent`", spend_query(everything, agent, None)),
        Probe("of all time, `--by day`", spend_query(everything, None, SpendBy.DAY)),
        Probe("of all time, `--by payee`", spend_query(everything, None, SpendBy.PAYEE)),
        Probe("of all time, `--by agent`", spend_query(everything, None, SpendBy.AGENT)),
        Probe("of all time, `--by endpoint`", spend_query(everything, None, SpendBy.ENDPOINT)),
    ]


def _follow(connection: Connection, agent: UUID, quiet: UUID) -> Sequence[Probe]:
    newest, middle, last = connection.execute(text("SELECT max(xid), max(xid) / 2, max(id) FROM audit_events")).one()
    return [
        Probe("from the beginning", events_query((0, 0), None, EVENTS)),
        Probe("from the middle", events_query((middle, 0), None, EVENTS)),
        Probe("what is new: ten events", events_query((newest, last - 10), None, EVENTS)),
        Probe("what is new: nothing", events_query((newest, last), None, EVENTS)),
        Probe("`--tail 10`", events_query(None, None, 10)),
        Probe(
            "`--agent`, from the middle",
            events_query((middle, 0), quiet, EVENTS),
            "ix_audit_events_agent_id_xid_id",
        ),
        Probe("`--agent --tail 10`", events_query(None, agent, 10)),
    ]


def _api(agent: UUID, quiet: UUID) -> Sequence[Probe]:
    now, everything = datetime.now(UTC), Filter()
    day, week = now - timedelta(days=1), now - timedelta(days=7)

    def requests(title: str, wanted: Filter, agent_id: UUID | None = None, after: Cursor | None = None) -> Probe:
        return Probe(title, requests_query(wanted, agent_id, after, PAGE))

    def balances(title: str, since: datetime | None, every: timedelta | None, agent_id: UUID | None = None) -> Probe:
        return Probe(title, balances_query(agent_id, (since, None), every, None, 500))

    return [
        requests("`/requests`, first page", everything),
        requests("`/requests`, page deep in the past", everything, after=_place(358)),
        requests("`/requests?agent=`", everything, agent),
        requests("`/requests?status=waiting&status=unresolved`", Filter(statuses=("waiting", "unresolved"))),
        requests("`/requests?status=delivered`", Filter(statuses=("delivered",)), quiet),
        balances("`/balances`, first page", None, None),
        balances("`/balances?agent=&since=7d&every=1h`", week, timedelta(hours=1), agent),
        Probe("`/sellers` of the last day", sellers_query(day, None)),
        Probe("`/sellers` of the last day, over time", seller_times_query(day, timedelta(minutes=30), None, None)),
        Probe("`/sellers?agent=` of a week", sellers_query(week, quiet)),
        Probe("`/spend?by=seller` of the last day", spend_query(Filter(since=day), None, SpendBy.SELLER)),
        Probe("`/approvals`", approvals_query(None, None, PAGE, undecided=True)),
    ]


def _prune() -> Sequence[Probe]:
    now = datetime.now(UTC)
    return [
        Probe("a batch", prunable_query(now - timedelta(days=90), 200), index="ix_api_request_logs_prunable"),
        Probe("a batch, when there is nothing", prunable_query(now - timedelta(days=4000), 200)),
    ]
