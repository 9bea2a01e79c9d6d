"""What an agent can spend: the last readings of its money, less what has gone since. Pure.

A reading counts what the ledger has reserved by then. What is paid after it is subtracted here until the next one;
what is under way is its caller's business.
"""

from datetime import datetime

from pydantic import BaseModel

from autopay.domain.agent.spec import Rules
from autopay.domain.agent.status import Spendable
from autopay.domain.money import Currency, show
from autopay.domain.values import Value


class Paid(Value):
    """A payment that was answered at that time."""

    currency: Currency
    amount_atomic: int
    at: datetime


class Purse(BaseModel):
    """Readings by currency, and the payments since."""

    readings: list[Spendable] = []
    paid_since: list[Paid] = []

    def read(self, readings: list[Spendable], began: datetime) -> None:
        """New readings, which were begun at that time: they know all that had been paid by then."""
        self.readings = readings
        self.paid_since = [paid for paid in self.paid_since if paid.at >= began]

    def paid(self, currency: Currency, amount_atomic: int, now: datetime) -> None:
        """A payment was answered."""
        self.paid_since.append(Paid(currency=currency, amount_atomic=amount_atomic, at=now))

    def left(self, currency: Currency) -> int | None:
        """Base units that can be spent now; None before the first reading."""
        reading = next((each for each in self.readings if each.currency == currency), None)
        if reading is None:
            return None
        gone = sum(paid.amount_atomic for paid in self.paid_since if paid.currency == currency)
        return max(0, reading.spendable_atomic - gone)

    def used_up(self, rules: Rules) -> tuple[Currency, ...]:
        """Currencies in which nothing is paid until there is more."""
        return tuple(each.currency for each in self.readings if each.spendable_atomic < rules.needed(each.currency))

    def shortage(self, rules: Rules) -> str | None:
        """What is missing and what would help, when no currency can pay; None when one can, or none was read yet."""
        if len(self.used_up(rules)) < len(self.readings) or not self.readings:
            return None
        return self.missing(rules)

    def missing(self, rules: Rules) -> str:
        """What is missing in the currencies that are used up, and what would help."""
        short = self.used_up(rules)
        return "; ".join(
            _missing(each, rules.needed(each.currency)) for each in self.readings if each.currency in short
        )

    def transfer_helps(self) -> bool:
        """Whether there is an account that is short by what it holds or allows: by what can come in to it."""
        return any(each.account is not None and each.limit in ("balance", "allowance") for each in self.readings)


def _missing(each: Spendable, needed: int) -> str:
    if each.session_problem is not None:
        return f"{each.currency}: {each.session_problem}; the owner must grant a new session (session grant)"
    have, need = show(each.spendable_atomic, each.currency), show(needed, each.currency)
    said = f"{have} spendable ({each.limit.replace('_', ' ')}), {need} needed"
    if each.limit == "balance" and each.account is not None:
        return f"{said}: {show(needed - each.spendable_atomic, each.currency)} or more to {each.account} lets it go on"
    return f"{said}: a new session with a larger allowance lets it go on (session grant)"
