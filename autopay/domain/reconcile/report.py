"""The report of a reconciliation: totals of ledger and chain, and every finding with its transaction."""

from collections.abc import Mapping, Sequence

from autopay.domain.money import Currency, units_text
from autopay.domain.reconcile.compare import UNRESOLVED, ComparedTransfer, ReconcileFinding
from autopay.domain.values import Value


class ReportEntry(Value):
    """A finding for people and programs; `transaction` is the signature on chain, if there is one."""

    transaction: str | None
    reason: ReconcileFinding
    agent: str
    request_id: str | None = None
    attempt: int | None = None
    status: str | None = None
    amount: str
    currency: Currency
    slot: int | None = None


class ReconcileReport(Value):
    """Ledger and chain compared as of a finalized slot; amounts are decimal strings in token units.

    `others` counts transactions of the accounts that are not payments by a session key: grants, top-ups, failed ones.
    """

    ok: bool
    agent: str | None
    as_of_slot: int
    sessions: int
    payments: int
    on_chain: int
    spent_ledger: dict[Currency, str]
    spent_chain: dict[Currency, str]
    unmatched_ledger: tuple[ReportEntry, ...] = ()
    unmatched_chain: tuple[ReportEntry, ...] = ()
    unresolved: tuple[ReportEntry, ...] = ()
    others: int = 0


def build_report(
    findings: Sequence[ComparedTransfer],
    *,
    agent: str | None,
    as_of_slot: int,
    sessions: int,
    payments: int,
    on_chain: int,
    others: int,
    spent_ledger: Mapping[Currency, int],
    spent_chain: Mapping[Currency, int],
) -> ReconcileReport:
    """The report over all sessions. `findings` have a finding each; totals are in base units."""
    pending = [
        each for each in findings if each.finding is ReconcileFinding.OPEN_ON_CHAIN and each.transfer is not None
    ]
    wrong = [each for each in findings if each.finding is not None and each.finding not in UNRESOLVED]
    currencies = sorted(each for each in Currency if spent_ledger.get(each) or spent_chain.get(each))
    equal = payments + len(pending) == on_chain and all(
        spent_ledger.get(each, 0) + _moved(pending, each) == spent_chain.get(each, 0) for each in currencies
    )
    return ReconcileReport(
        ok=equal and not wrong,
        agent=agent,
        as_of_slot=as_of_slot,
        sessions=sessions,
        payments=payments,
        on_chain=on_chain,
        others=others,
        spent_ledger={each: units_text(spent_ledger.get(each, 0)) for each in currencies},
        spent_chain={each: units_text(spent_chain.get(each, 0)) for each in currencies},
        unmatched_ledger=tuple(_entry(each) for each in wrong if each.transfer is None),
        unmatched_chain=tuple(_entry(each) for each in wrong if each.transfer is not None),
        unresolved=tuple(_entry(each) for each in findings if each.finding in UNRESOLVED),
    )


def _moved(pending: Sequence[ComparedTransfer], currency: Currency) -> int:
    return sum(each.transfer.transfer.amount_atomic for each in pending if each.transfer and each.currency == currency)


def _entry(compared: ComparedTransfer) -> ReportEntry:
    assert compared.finding is not None
    transfer, attempt = compared.transfer, compared.attempt
    amount = transfer.transfer.amount_atomic if transfer else attempt.amount_atomic if attempt else 0
    return ReportEntry(
        transaction=transfer.signature if transfer else attempt.signature if attempt else None,
        reason=compared.finding,
        agent=compared.agent,
        request_id=attempt.request_id if attempt else None,
        attempt=attempt.number if attempt else None,
        status=attempt.status if attempt else None,
        amount=units_text(amount),
        currency=compared.currency,
        slot=(transfer.slot if transfer else None) or (attempt.slot if attempt else None),
    )
