"""What an agent can spend now, and which of its limits that is: one rule for `status`, `agents` and their hints. Pure.

| limit | base units | source |
|---|---|---|
| `policy_currency` | 0, when its policy does not allow the currency | the ledger |
| `session_budget` | the session's allowance, less all that is reserved and not proven dead | the ledger |
| `policy_day` | its policy's limit a day, less what counts since midnight UTC | the ledger |
| `allowance` | what the chain lets the session's key move, when the last reading found this the least | the agent |
| `balance` | what the session's account held at the agent's last reading | the ledger's copy of that reading |
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from autopay.domain.agent.records import BalanceRecord, SpendableRecord, SpendLimit
from autopay.domain.agent.status import Spendable
from autopay.domain.money import Currency
from autopay.domain.policy.records import PolicyInForce
from autopay.domain.session import SessionRecord


def spending(
    sessions: Sequence[SessionRecord],
    readings: Sequence[BalanceRecord],
    policy: PolicyInForce | None,
    now: datetime,
    seen: Sequence[Spendable] = (),
) -> tuple[SpendableRecord, ...]:
    """What can be spent in each currency that the agent reads or has an open session in.

    `sessions` are those that are open, newest first; `seen` is what the agent itself read last, when it was asked.
    """
    newest = {each.currency: each for each in reversed(sessions)}
    read = {each.currency: each for each in readings}
    own = {each.currency: each for each in seen}
    return tuple(
        _in_currency(currency, newest.get(currency), read.get(currency), own.get(currency), policy, now)
        for currency in dict.fromkeys((*read, *newest))
    )


def _in_currency(
    currency: Currency,
    session: SessionRecord | None,
    reading: BalanceRecord | None,
    seen: Spendable | None,
    policy: PolicyInForce | None,
    now: datetime,
) -> SpendableRecord:
    problem, limits = _problem(session, now), _limits(currency, session, reading, seen, policy)
    limit: SpendLimit = min(limits, key=lambda each: limits[each]) if limits and problem is None else "none"
    return SpendableRecord(
        currency=currency,
        spendable_atomic=0 if limit == "none" else limits[limit],
        limit=limit,
        limits=limits,
        needed_atomic=None if reading is None else reading.threshold_atomic,
        problem=problem,
        pauses=reading is not None and reading.status == "PAUSED",
        read_at=None if reading is None else reading.snapshot_at,
    )


def _problem(session: SessionRecord | None, now: datetime) -> str | None:
    """Why the session pays nothing at all."""
    if session is None:
        return "no session"
    if session.expires_at <= now:
        return f"session expired {session.expires_at:%F %T} UTC"
    if session.payments >= session.tx_limit:
        return f"session's {session.tx_limit} payments are made"
    return None


def _limits(
    currency: Currency,
    session: SessionRecord | None,
    reading: BalanceRecord | None,
    seen: Spendable | None,
    policy: PolicyInForce | None,
) -> Mapping[SpendLimit, int]:
    """All that bound it; of equal ones the first binds."""
    limits: dict[SpendLimit, int] = {}
    if policy is not None and policy.policy.currencies and currency not in policy.policy.currencies:
        limits["policy_currency"] = 0
    if session is None:
        return limits
    limits["session_budget"] = max(0, session.allowance_atomic - session.reserved_atomic)
    if policy is not None and policy.left_today_atomic is not None:
        limits["policy_day"] = policy.left_today_atomic
    if reading is not None and reading.snapshot_at > session.created_at:  # an older one is of another account
        if seen is not None and seen.account == session.source_account and seen.limit == "allowance":
            limits["allowance"] = seen.spendable_atomic
        limits["balance"] = reading.balance_atomic
    return limits
