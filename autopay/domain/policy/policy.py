"""What an agent may pay, and for what it must ask a person: `judge(terms, facts)`. Pure.

The decision sees the terms that will be signed and what the ledger has booked; nothing else that a seller says. It is
made twice: before anything is signed, and in the transaction that reserves the money. Limits count USDC and CASH
together, as both are dollars with six decimals; days are UTC by the database's clock; unknown outcomes count as spent.
"""

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from autopay.domain.money import MAX_ATOMIC, Currency, price_text, show
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import Method
from autopay.domain.text.hosts import HOST_PATTERN, is_any_of
from autopay.domain.values import StrictValue

Amount = Annotated[int, Field(ge=0, le=MAX_ATOMIC)]
HostRule = Annotated[str, StringConstraints(pattern=HOST_PATTERN, max_length=260)]
ADDRESS_PATTERN = r"^[1-9A-HJ-NP-Za-km-z]{32,44}$"
SHORTEST_S, LONGEST_S = 60, 31_536_000
"""Bounds of the time in which a person can answer."""

SolanaAddress = Annotated[str, StringConstraints(pattern=ADDRESS_PATTERN)]


class Policy(StrictValue):
    """The limits that a person sets; None is no limit, an empty list allows all. Amounts are base units.

    `price_factor` bounds a price by the last one paid for the same resource. An INTERACTIVE agent asks a person
    about everything above `auto_approve_atomic`; an answer is good for `approval_expires_s` from the question on.
    """

    per_request_atomic: Amount | None = None
    per_host_day_atomic: Amount | None = None
    per_agent_day_atomic: Amount | None = None
    hosts: tuple[HostRule, ...] = ()
    payees: tuple[SolanaAddress, ...] = ()
    currencies: tuple[Currency, ...] = ()
    price_factor: Decimal | None = Field(Decimal(3), ge=1, le=1_000_000)
    auto_approve_atomic: Amount = 0
    approval_expires_s: int = Field(86_400, ge=SHORTEST_S, le=LONGEST_S)


class Terms(StrictValue):
    """Exactly what is paid, and for what: what a person approves, by its hash. No seller's `extra` is in it."""

    request_id: str
    method: Method
    url: str
    body_hash: str | None
    network: Network
    currency: Currency
    mint: str
    program: str
    pay_to: str
    amount_atomic: int

    def hash(self) -> str:
        """SHA-256 over every field but the currency, which only names the mint; hex."""
        fields = self.model_dump(mode="json", exclude={"currency"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


ApprovalState = Literal["PENDING", "APPROVED", "DENIED", "EXPIRED"]


class Facts(StrictValue):
    """What the ledger knows when it judges; `host` always says its port, days' sums are base units.

    `approval` is the state of the approval of exactly these terms, None when nobody was asked.
    """

    phase: Phase
    policy: Policy
    host: str
    spent_host_day_atomic: int
    spent_agent_day_atomic: int
    known_payees: frozenset[str]
    last_price_atomic: int | None
    approval: ApprovalState | None


class Permit(StrictValue):
    """It may be paid now; `approved` when a person had to approve it, and did."""

    kind: Literal["permit"] = "permit"
    approved: bool = False


class Ask(StrictValue):
    """A person must say yes first; `why` is for that person."""

    kind: Literal["ask"] = "ask"
    why: str


class Awaiting(StrictValue):
    """A person has been asked about these terms, and has not answered."""

    kind: Literal["awaiting"] = "awaiting"
    approval_id: UUID
    terms_hash: str
    why: str
    currency: Currency
    amount_atomic: int
    pay_to: str
    expires_at: AwareDatetime


class Decision(StrictValue):
    """A person approves or denies; the hash says which terms."""

    approval_id: UUID
    terms_hash: str
    approve: bool


def judge(terms: Terms, facts: Facts) -> Permit | Ask | Refused:
    """Whether these terms may be paid. Limits hold whatever a person approves; doubts are a person's to settle."""
    if (refused := _beyond_limits(terms, facts)) is not None:
        return refused
    doubt = _doubt(terms, facts)
    if facts.phase != Phase.INTERACTIVE:
        return doubt or Permit()
    why = doubt.message if doubt is not None else _above_auto_approval(terms, facts.policy)
    if why is None:
        return Permit()
    match facts.approval:
        case "APPROVED":
            return Permit(approved=True)
        case "DENIED":
            return Refused(reason=RefusalReason.APPROVAL_DENIED, message="a person denied this payment")
        case "EXPIRED":
            return Refused(reason=RefusalReason.APPROVAL_EXPIRED, message="nobody approved this payment in time")
        case _:
            return Ask(why=why)


def _beyond_limits(terms: Terms, facts: Facts) -> Refused | None:
    policy = facts.policy
    if policy.currencies and terms.currency not in policy.currencies:
        return Refused(
            reason=RefusalReason.CURRENCY_NOT_ALLOWED, message=f"policy does not allow paying in {terms.currency}"
        )
    if policy.hosts and not is_any_of(policy.hosts, facts.host):
        return Refused(reason=RefusalReason.HOST_NOT_ALLOWED, message=f"policy does not allow paying {facts.host}")
    if policy.payees and terms.pay_to not in policy.payees:
        return Refused(
            reason=RefusalReason.PAYEE_NOT_ALLOWED, message=f"policy does not allow the payee {terms.pay_to}"
        )
    limits = (
        (RefusalReason.ABOVE_REQUEST_LIMIT, policy.per_request_atomic, 0, "a request"),
        (
            RefusalReason.HOST_DAY_LIMIT,
            policy.per_host_day_atomic,
            facts.spent_host_day_atomic,
            f"a day at {facts.host}",
        ),
        (
            RefusalReason.AGENT_DAY_LIMIT,
            policy.per_agent_day_atomic,
            facts.spent_agent_day_atomic,
            "a day of this agent",
        ),
    )
    for reason, limit, spent_atomic, what in limits:
        if limit is not None and spent_atomic + terms.amount_atomic > limit:
            price, cap = price_text(terms), show(limit, "USD")
            spent = f", {show(spent_atomic, 'USD')} of it taken" if spent_atomic else ""
            return Refused(reason=reason, message=f"{price} is asked; policy allows {cap} {what}{spent}")
    return None


def _doubt(terms: Terms, facts: Facts) -> Refused | None:
    """What changed since the last payment there; a payee that the policy lists by name is no surprise."""
    known = facts.known_payees | set(facts.policy.payees)
    if facts.known_payees and terms.pay_to not in known:
        before = ", ".join(sorted(facts.known_payees))[:200]
        message = f"{facts.host} wants to be paid at {terms.pay_to}; so far it was {before}"
        return Refused(reason=RefusalReason.PAYEE_CHANGED, message=message)
    last, factor = facts.last_price_atomic, facts.policy.price_factor
    if last is not None and factor is not None and terms.amount_atomic > last * factor:
        price, before = price_text(terms), show(last, "USD")
        message = f"{price} is asked; the last price was {before}, and policy allows {factor} times as much"
        return Refused(reason=RefusalReason.PRICE_JUMP, message=message)
    return None


def _above_auto_approval(terms: Terms, policy: Policy) -> str | None:
    if terms.amount_atomic <= policy.auto_approve_atomic:
        return None
    price, up_to = price_text(terms), show(policy.auto_approve_atomic, "USD")
    return f"{price} is asked; up to {up_to} needs no approval"
