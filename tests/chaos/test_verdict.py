"""The judge itself: a sound world has nothing unexplained, and each lie about it is found."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests.chaos.books import Attempt, Books, Request, Session
from tests.chaos.onchain import Debit, Holding
from tests.chaos.plan import Purchase
from tests.chaos.verdict import unexplained

BODY = json.dumps({"topic": "fees"}).encode()


PURCHASE = Purchase("amber", "one", "knowledge", "/api?topic=fees", None, "USDC", 10, twice=False)
SESSION = Session("s", "amber", "USDC", "account", "authority", 100, 3)
REQUEST = Request(
    "amber/one", "key", "delivered", "DELIVERED", True, BODY, hashlib.sha256(BODY).hexdigest(), None, "GET",
    "http://seller/api?topic=fees", {"transaction": "sig"},
)  # fmt: skip
ATTEMPT = Attempt("key", 1, "s", "VERIFIED", "sig", "memo", "USDC", 7, 1, "seller", None)
DEBIT = Debit("account", "sig", 5, "memo", 7, "mint", frozenset({"payer", "authority"}))
HOLDING = Holding(93, 93)


@dataclass(frozen=True)
class World:
    """One request, delivered and paid 7 of 100."""

    purchase: Purchase = PURCHASE
    session: Session = SESSION
    request: Request = REQUEST
    attempts: tuple[Attempt, ...] = (ATTEMPT,)
    debits: tuple[Debit, ...] = (DEBIT,)
    holding: Holding = HOLDING
    got: int = 7

    def unexplained(self) -> list[str]:
        """What the judge says."""
        books = Books([self.session], [self.request], self.attempts)
        holdings = {"account": self.holding, "seller": Holding(self.got, 0)}
        return unexplained([self.purchase], {}, books, {"account": self.debits}, holdings)


def test_a_sound_world_has_nothing_unexplained() -> None:
    assert World().unexplained() == []


LIES: dict[str, tuple[Callable[[World], World], str]] = {
    "paid twice": (lambda w: replace(w, debits=(*w.debits, replace(w.debits[0], signature="two"))), "on chain 2 times"),
    "not booked": (lambda w: replace(w, attempts=()), "is not VERIFIED"),
    "not paid": (lambda w: replace(w, debits=()), "is not on chain"),
    "open": (lambda w: replace(w, attempts=(replace(w.attempts[0], status="RETRYING"),)), "is RETRYING"),
    "other amount": (lambda w: replace(w, debits=(replace(w.debits[0], amount_atomic=8),)), "base units left"),
    "other signer": (lambda w: replace(w, debits=(replace(w.debits[0], signers=frozenset({"x"})),)), "booked is"),
    "no memo": (lambda w: replace(w, debits=(replace(w.debits[0], memo=None),)), "without a memo"),
    "over the allowance": (lambda w: replace(w, session=replace(w.session, allowance_atomic=5)), "of 5 allowed"),
    "too many": (lambda w: replace(w, session=replace(w.session, tx_limit=0)), "of 0 allowed"),
    "more left": (lambda w: replace(w, holding=Holding(94, 93)), "balance is 94"),
    "delegation left": (lambda w: replace(w, holding=Holding(93, 94)), "delegation is 94"),
    "seller has more": (lambda w: replace(w, got=14), "the sellers hold 14"),
    "failed and paid": (lambda w: replace(w, request=replace(w.request, outcome="failed")), "paid for it"),
    "not closed": (lambda w: replace(w, request=replace(w.request, closed=False)), "has not ended"),
    "no body": (lambda w: replace(w, request=replace(w.request, body=None)), "no body is stored"),
    "other body": (lambda w: replace(w, request=replace(w.request, body=b'{"topic": "x"}')), "answers something else"),
    "too expensive": (lambda w: replace(w, purchase=replace(w.purchase, max_price_atomic=6)), "at most 6"),
    "other currency": (lambda w: replace(w, purchase=replace(w.purchase, currency="CASH")), "asked for in CASH"),
    "never asked": (lambda w: replace(w, request=replace(w.request, name="amber/two")), "never asked for"),
    "other receipt": (lambda w: replace(w, request=replace(w.request, result={})), "tells of transaction None"),
}


@pytest.mark.parametrize(("lie", "words"), LIES.values(), ids=LIES.keys())
def test_a_lie_is_found(lie: Callable[[World], World], words: str) -> None:
    assert any(words in each for each in lie(World()).unexplained())
