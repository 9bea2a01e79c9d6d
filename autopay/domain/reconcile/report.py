"""What a reconciliation tells: totals of both sides, and every finding with its transaction. Pure."""

from collections.abc import Mapping, Sequence

from autopay.domain.money import Currency, to_units
from autopay.domain.reconcile.compare import UNRESOLVED, Finding, Line
from autopay.domain.values import Value


class Entry(Value):
    """A finding for people and programs; `transaction` is the chain's signature, as far as there is one."""

    transaction: str | None
    reason: Finding
    agent: str
    request_id: str | None = None
    attempt: int | None = None
    status: str | None = None
    amount: str
    currency: Currency
    slot: int | None = None


class Report(Value):
    """Ledger against chain, as of a finalized slot; amounts are decimal strings in token units.

    `others` counts transactions of the accounts that are none of our payments: grants, top-ups, failed ones.
    """

    ok: bool
    agent: str | None
    as_of_slot: int
    sessions: int
    payments: int
    on_chain: int
    spent_ledger: dict[Currency, str]
    spent_chain: dict[Currency, str]
    unmatched_ledger: tuple[Entry, ...] = ()
    unmatched_chain: tuple[Entry, ...] = ()
    unresolved: tuple[Entry, ...] = ()
    others: int = 0


def report(
    lines: Sequence[Line],
    *,
    agent: str | None,
    as_of_slot: int,
    sessions: int,
    payments: int,
    on_chain: int,
    others: int,
    spent_ledger: Mapping[Currency, int],
    spent_chain: Mapping[Currency, int],
) -> Report:
    """The report over all sessions. `lines` are those with a finding; totals in base units."""
    pending = [line for line in lines if line.finding is Finding.OPEN_ON_CHAIN and line.transfer is not None]
    wrong = [line for line in lines if line.finding is not None and line.finding not in UNRESOLVED]
    currencies = sorted(each for each in Currency if spent_ledger.get(each) or spent_chain.get(each))
    equal = payments + len(pending) == on_chain and all(
        spent_ledger.get(each, 0) + _moved(pending, each) == spent_chain.get(each, 0) for each in currencies
    )
    return Report(
        ok=equal and not wrong,
        agent=agent,
        as_of_slot=as_of_slot,
        sessions=sessions,
        payments=payments,
        on_chain=on_chain,
        others=others,
        spent_ledger={each: f"{to_units(spent_ledger.get(each, 0)):f}" for each in currencies},
        spent_chain={each: f"{to_units(spent_chain.get(each, 0)):f}" for each in currencies},
        unmatched_ledger=tuple(_entry(line) for line in wrong if line.transfer is None),
        unmatched_chain=tuple(_entry(line) for line in wrong if line.transfer is not None),
        unresolved=tuple(_entry(line) for line in lines if line.finding in UNRESOLVED),
    )


def _moved(lines: Sequence[Line], currency: Currency) -> int:
    return sum(line.transfer.transfer.amount_atomic for line in lines if line.transfer and line.currency == currency)


def _entry(line: Line) -> Entry:
    assert line.finding is not None
    transfer, attempt = line.transfer, line.attempt
    amount = transfer.transfer.amount_atomic if transfer else attempt.amount_atomic if attempt else 0
    return Entry(
        transaction=transfer.signature if transfer else attempt.signature if attempt else None,
        reason=line.finding,
        agent=line.agent,
        request_id=attempt.request_id if attempt else None,
        attempt=attempt.number if attempt else None,
        status=attempt.status if attempt else None,
        amount=f"{to_units(amount):f}",
        currency=line.currency,
        slot=(transfer.slot if transfer else None) or (attempt.slot if attempt else None),
    )
