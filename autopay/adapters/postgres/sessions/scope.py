"""What is written in `sessions.scope`, and how it is read. Pure; no queries here.

| key | what |
|---|---|
| `txLimit`, `duration`, `allowance`, `currency` | payments, seconds, token units, and in what |
| `hosts` | whom it may pay, as host rules (`domain/hosts.py`); absent: anybody |
| `ownerTransaction` | what the owner was asked to sign and the chain does not show yet |
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func

from autopay.adapters.postgres.tables.core import SessionRow
from autopay.domain.money import Currency, to_units
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import OwnerTransaction
from autopay.domain.text.hosts import is_any_of

OWNER_TRANSACTION = "ownerTransaction"


def scope_of(
    tx_limit: int,
    duration_s: int,
    allowance_atomic: int,
    currency: Currency,
    hosts: Sequence[str] = (),
    owner_transaction: OwnerTransaction | None = None,
) -> dict[str, Any]:
    """The scope of a new session."""
    scope: dict[str, Any] = {
        "txLimit": tx_limit,
        "duration": duration_s,
        "allowance": f"{to_units(allowance_atomic):f}",
        "currency": currency.value,
    }
    if hosts:
        scope["hosts"] = list(hosts)
    return with_owner_transaction(scope, owner_transaction)


def with_owner_transaction(scope: dict[str, Any], transaction: OwnerTransaction | None) -> dict[str, Any]:
    """The scope with that transaction to be signed by the owner, or with none."""
    rest = {key: value for key, value in scope.items() if key != OWNER_TRANSACTION}
    return rest | ({OWNER_TRANSACTION: transaction.model_dump(mode="json")} if transaction else {})


def owner_transaction_of(row: SessionRow) -> OwnerTransaction | None:
    """What the owner was asked to sign last, unless the chain has it."""
    found = row.scope.get(OWNER_TRANSACTION)
    return None if found is None else OwnerTransaction.model_validate(found)


def is_granted(row: SessionRow) -> bool:
    """Whether the chain has shown the owner's grant: before that, the session's account may not exist."""
    waiting = owner_transaction_of(row)
    return waiting is None or waiting.does != "grant"


def sql_is_granted() -> ColumnElement[bool]:
    """`is_granted`, for a query."""
    return func.coalesce(SessionRow.scope[OWNER_TRANSACTION]["does"].astext, "") != "grant"


def tx_limit_of(row: SessionRow) -> int:
    """How many payments the session may make."""
    return int(row.scope["txLimit"])


def duration_of(row: SessionRow) -> int:
    """Seconds that it lasts from its grant on."""
    return int(row.scope["duration"])


def hosts_of(row: SessionRow) -> tuple[str, ...]:
    """The host rules that it was granted for; none means every host."""
    return tuple(row.scope.get("hosts", ()))


def host_refusal(row: SessionRow, host: str) -> Refused | None:
    """Why the session may not pay that host (with its port, if it has one), if so."""
    hosts = hosts_of(row)
    if not hosts or is_any_of(hosts, host):
        return None
    message = f"the agent's session may not pay {host}, only {', '.join(hosts)}"
    return Refused(reason=RefusalReason.HOST_NOT_ALLOWED, message=message)
