"""Reads an agent's state as releases up to 0.2.0 carried it from run to run: one flat JSON object, without parts."""

from collections.abc import Mapping

FLAT_ONLY = "rpc"
"""A key that only the flat JSON has."""

_PATHS = {
    "trouble": "retry.fault",
    "retry_at": "retry.at",
    "retries": "retry.retries",
    "queue": "queue.waiting",
    "in_flight": "queue.in_flight",
    "answered": "queue.answered",
    "held": "queue.held",
    "cancels": "queue.cancels",
    "next_catch_up": "queue.next_ledger_check",
    "purse.readings": "balances.readings",
    "purse.paid_since": "balances.paid_since",
    "next_balance": "balances.next_reading",
    "short": "balances.shortage",
    "watching": "schedule",
    "rpc": "breakers.rpc",
    "sellers.breakers": "breakers.sellers",
    "payments": "counters.payments",
    "demo_from": "counters.demo_from",
    "counts": "counters.by_status",
    "spent_atomic": "counters.spent_atomic",
    "last": "counters.last",
    "unheard": "early_notices",
}
"""Where each field is now; `spec`, `pause`, `stopping` and `prices` are where they were."""


def nest(flat: Mapping[str, object]) -> dict[str, object]:
    """The same state as parts, for `DurableState`."""
    nested: dict[str, object] = {key: flat[key] for key in ("spec", "pause", "stopping", "prices") if key in flat}
    for old, new in _PATHS.items():
        value: object = flat
        for key in old.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            continue
        *parents, name = new.split(".")
        target = nested
        for parent in parents:
            part = target.setdefault(parent, {})
            assert isinstance(part, dict)
            target = part
        target[name] = value
    return nested
