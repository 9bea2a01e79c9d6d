"""Every metric of ours by name, with its labels: docs/metrics.md, dashboards and alerts name no other.

Money is in base units (1,000,000 are one USDC or CASH), times are seconds. The exporter adds `_total` to counters and
`_bucket`, `_sum` and `_count` to histograms. Of what is read from the ledger, the chain or a folder, every worker shows
all: take `max by (agent)`, not `sum`.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "histogram", "gauge"]
Fold = Literal["sum", "max", "min"]


@dataclass(frozen=True)
class Metric:
    """One metric. `fold` makes one value of those of all agents that have no label of their own."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    fold: Fold = "sum"

    @property
    def series(self) -> tuple[str, ...]:
        """Its names as Prometheus has them."""
        match self.kind:
            case "counter":
                return (f"{self.name}_total",)
            case "histogram":
                return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
            case "gauge":
                return (self.name,)


BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of our histograms, seconds."""

_AGENT, _MONEY = ("agent",), ("agent", "currency")

REQUESTS_ENDED = Metric(
    "autopay_requests_ended",
    "counter",
    "Requests that ended, by outcome: delivered, undelivered, free, refused, failed, canceled",
    ("agent", "seller", "outcome"),
)
PAID = Metric("autopay_paid_atomic", "counter", "Money of payments that are final", ("agent", "seller", "currency"))
BREAKER_CHANGES = Metric(
    "autopay_breaker_changes",
    "counter",
    "Breakers that opened or closed; dependency: rpc or seller",
    ("agent", "dependency", "state"),
)
RPC_SECONDS = Metric(
    "autopay_rpc_seconds",
    "histogram",
    "Questions to the Solana node; outcome: ok, error (it answered something else), unavailable",
    ("method", "outcome"),
)
SQL_SECONDS = Metric("autopay_sql_seconds", "histogram", "SQL statements, by verb and table", ("statement",))

AGENTS = Metric("autopay_agents", "gauge", "Agents that are not archived")
PAUSED = Metric(
    "autopay_agent_paused",
    "gauge",
    "1 while the agent is paused; reason: person, money (its last reading was too little), session (none can pay)",
    ("agent", "reason"),
    "sum",
)
QUEUED = Metric("autopay_queued_requests", "gauge", "Requests that wait for their turn", _AGENT)
OLDEST_QUEUED = Metric("autopay_oldest_queued_seconds", "gauge", "How long the first of them has waited", _AGENT, "max")
ASKED = Metric("autopay_waiting_approvals", "gauge", "Requests that wait for a person", _AGENT)
OLDEST_ASKED = Metric("autopay_oldest_approval_seconds", "gauge", "How long the first of them has", _AGENT, "max")
OPEN_PAYMENTS = Metric("autopay_open_payments", "gauge", "Payments without an outcome that is final", _AGENT)
OPEN_ATOMIC = Metric("autopay_open_atomic", "gauge", "Money of payments without an outcome that is final", _MONEY)
OLDEST_OPEN = Metric(
    "autopay_oldest_open_payment_seconds", "gauge", "Age of the oldest payment without a final outcome", _AGENT, "max"
)
UNDELIVERED = Metric(
    "autopay_undelivered_requests",
    "gauge",
    "Requests that were paid and have no content; state: asking (their payment still asks for it), ended",
    ("agent", "state"),
)
DAY_SPENT = Metric("autopay_day_spent_atomic", "gauge", "What counts as spent since midnight UTC", _AGENT)
DAY_CAP = Metric("autopay_day_cap_atomic", "gauge", "The policy's limit a day, where it has one", _AGENT)
SESSION_SPENT = Metric(
    "autopay_session_spent_atomic", "gauge", "What of the session's allowance is spent or reserved", _MONEY
)
SESSION_CAP = Metric("autopay_session_cap_atomic", "gauge", "The newest session's allowance", _MONEY)
SESSION_PAYMENTS_LEFT = Metric(
    "autopay_session_payments_left", "gauge", "Payments that the newest session may still make", _MONEY, "min"
)
SESSION_LEFT = Metric(
    "autopay_session_seconds_left", "gauge", "Until the newest session ends; 0 when it has ended", _MONEY, "min"
)
DELEGATED = Metric(
    "autopay_delegated_atomic", "gauge", "What the chain still lets the session's key move: 0 when taken back", _MONEY
)
DIFFERENCE = Metric(
    "autopay_ledger_chain_difference_atomic",
    "gauge",
    "Money that the session's key has moved on the chain and the ledger does not know, or the other way round",
    _MONEY,
)
BALANCE = Metric("autopay_balance_atomic", "gauge", "The agent's last reading of what it can spend", _MONEY)
BALANCE_NEEDED = Metric("autopay_balance_needed_atomic", "gauge", "What it needs to go on", _MONEY)
FENCE = Metric("autopay_fence_up", "gauge", "1 while the ledger is fenced: nothing is signed")
ANCHOR_AGE = Metric("autopay_anchor_age_seconds", "gauge", "Since the newest final anchor was made; absent without one")
UNANCHORED = Metric(
    "autopay_oldest_pending_anchor_seconds", "gauge", "Age of the anchor that is under way, 0 when none is"
)
UPKEEP_AGE = Metric(
    "autopay_upkeep_age_seconds",
    "gauge",
    "Since the schedule's last run of a duty (reconcile, verify, anchor, prune); absent without one in 35 days",
    ("duty",),
    "min",
)
UPKEEP_FAILED = Metric(
    "autopay_upkeep_failed",
    "gauge",
    "1 when that run found something that does not fit, or could not be done",
    ("duty",),
    "min",
)
WEBHOOKS_WAITING = Metric("autopay_webhooks_waiting", "gauge", "Deliveries of webhooks that will be tried again")
WEBHOOKS_DISABLED = Metric("autopay_webhook_endpoints_disabled", "gauge", "Endpoints that nothing is sent to any more")
BACKUP_AGE = Metric("autopay_backup_age_seconds", "gauge", "Age of the newest backup; absent when there is no folder")
READ_AT = Metric(
    "autopay_read_timestamp_seconds",
    "gauge",
    "When the gauges were read last, in Unix time; source: ledger, chain, backups",
    ("source",),
    "max",
)
INFO = Metric("autopay_info", "gauge", "Always 1", ("process", "version", "network"), "max")

ALL = tuple(value for value in globals().copy().values() if isinstance(value, Metric))

SDK_SERIES = {
    "temporal_activity_execution_latency_seconds": "steps that the server schedules, by activity_type",
    "temporal_local_activity_execution_latency_seconds": "steps that the worker runs by itself, by activity_type",
    "temporal_workflow_task_execution_latency_seconds": "turns of workflows",
    "temporal_workflow_task_schedule_to_start_latency_seconds": "how long turns waited for a worker",
    "temporal_workflow_task_execution_failed_total": "turns that failed: a bug, or the wrong worker",
    "temporal_worker_task_slots_available": "how many more tasks this worker would take, by worker_type",
    "temporal_num_pollers": "requests for work that are open, by poller_type",
    "temporal_request_failure_total": "calls to Temporal that failed, by operation and status_code",
    "temporal_sticky_cache_size": "workflows that the worker keeps",
}
"""Metrics of the SDK that dashboards and alerts use. Histograms have `_bucket`, `_sum` and `_count` as ours do."""
