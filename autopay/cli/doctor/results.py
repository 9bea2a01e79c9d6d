"""What a check found, and what all of them together mean."""

from collections.abc import Sequence
from typing import Literal

from autopay.domain.values import Value

State = Literal["ok", "warning", "failed", "unknown"]
"""`warning` is what works and may not for long; `unknown` is what could not be looked at, which `seen` explains."""


class Observation(Value):
    """What one check saw. `remedy` is what to do about it; "" when there is nothing to do."""

    state: State
    seen: str
    remedy: str = ""


class CheckResult(Observation):
    """An observation with the name of its check."""

    name: str


class DoctorReport(Value):
    """All checks, in their order; `ok` is False as soon as one has failed."""

    ok: bool
    checks: tuple[CheckResult, ...]

    @classmethod
    def of(cls, checks: Sequence[CheckResult]) -> "DoctorReport":
        """The report of these results."""
        return cls(ok=not any(each.state == "failed" for each in checks), checks=tuple(checks))

    def failed(self, name: str) -> bool:
        """Whether the check of that name has failed."""
        return any(each.name == name and each.state == "failed" for each in self.checks)


def well(seen: str) -> Observation:
    """Nothing is wrong."""
    return Observation(state="ok", seen=seen)


def warning(seen: str, remedy: str) -> Observation:
    """It works, and may not for long, or not as it should."""
    return Observation(state="warning", seen=seen, remedy=remedy)


def failed(seen: str, remedy: str) -> Observation:
    """It does not work."""
    return Observation(state="failed", seen=seen, remedy=remedy)


def unknown(why: str, remedy: str = "") -> Observation:
    """It could not be looked at."""
    return Observation(state="unknown", seen=f"not looked at: {why}", remedy=remedy)


def worst(observations: Sequence[Observation], otherwise: str) -> Observation:
    """One observation of several: all that is not well, in the worst one's state; `otherwise` when all is."""
    order = ("failed", "warning", "unknown")
    wrong = sorted((each for each in observations if each.state != "ok"), key=lambda each: order.index(each.state))
    if not wrong:
        return well(otherwise)
    remedies = dict.fromkeys(each.remedy for each in wrong if each.remedy)
    return Observation(state=wrong[0].state, seen="; ".join(each.seen for each in wrong), remedy="; ".join(remedies))
