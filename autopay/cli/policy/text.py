"""How a policy reads to people, line by line, and which lines differ between two."""

from collections.abc import Sequence
from datetime import timedelta

from autopay.domain.money import show
from autopay.domain.policy.policy import Policy

NO_LIMIT, ANY = "no limit", "any"


def lines_of(policy: Policy) -> dict[str, str]:
    """What a policy says, by the names of its file: `limits.per_request` and so on, in the file's order."""
    return {
        "limits.per_request": _limit(policy.per_request_atomic),
        "limits.per_host_day": _limit(policy.per_host_day_atomic),
        "limits.per_agent_day": _limit(policy.per_agent_day_atomic),
        "allow.hosts": _list(policy.hosts),
        "allow.payees": _list(policy.payees),
        "allow.currencies": _list(policy.currencies),
        "pins.price_factor": NO_LIMIT if policy.price_factor is None else f"{policy.price_factor.normalize():f}",
        "approvals.auto_up_to": show(policy.auto_approve_atomic, "USD"),
        "approvals.expire": lasting(policy.approval_expires_s),
    }


def changes(before: Policy, after: Policy) -> Sequence[tuple[str, str, str]]:
    """Name, what it said and what it says, of every line that differs."""
    said, says = lines_of(before), lines_of(after)
    return [(name, said[name], says[name]) for name in says if said[name] != says[name]]


def lasting(seconds: int) -> str:
    """A time as a policy file writes it: `24h`."""
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        whole, rest = divmod(timedelta(seconds=seconds), size)
        if not rest and (whole > 1 or unit != "d"):
            return f"{whole}{unit}"
    return f"{seconds}s"


def _limit(amount_atomic: int | None) -> str:
    return NO_LIMIT if amount_atomic is None else show(amount_atomic, "USD")


def _list(values: Sequence[str]) -> str:
    return ", ".join(values) or ANY
