"""Judges a run: the chain as it was read, against the ledger as it was read, against what was asked for. Pure.

What must not live here: I/O, and anything of autopay.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from tests.chaos.books import Attempt, Books, Request, Session
from tests.chaos.onchain import Debit, Holding
from tests.chaos.plan import Purchase

PAID = {"delivered", "undelivered"}
UNPAID = {"free", "fresh", "refused", "failed"}
FINAL = {"VERIFIED", "FAILED"}


def unexplained(
    purchases: Sequence[Purchase],
    refused: Mapping[str, str],
    books: Books,
    debits: Mapping[str, Sequence[Debit]],
    holdings: Mapping[str, Holding],
) -> list[str]:
    """Everything that should not be.

    Args:
        refused: requests that their agent did not take, with the reason.
        debits, holdings: by session account; `holdings` also by the sellers' accounts.
    """
    return [
        *_memos(debits),
        *_sums(books, debits),
        *_transfers(books, debits),
        *_attempts(books),
        *_sessions(books, debits, holdings),
        *_sellers(books, debits, holdings),
        *_requests(purchases, refused, books),
    ]


def _memos(debits: Mapping[str, Sequence[Debit]]) -> Iterator[str]:
    seen = Counter(debit.memo for each in debits.values() for debit in each)
    for memo, times in seen.items():
        if memo is None:
            yield f"{times} debits without a memo"
        elif times > 1:
            yield f"memo {memo} is on chain {times} times"


def _sums(books: Books, debits: Mapping[str, Sequence[Debit]]) -> Iterator[str]:
    for currency in sorted({session.currency for session in books.sessions}):
        accounts = {session.account for session in books.sessions if session.currency == currency}
        chain = sum(debit.amount_atomic for account in accounts for debit in debits[account])
        verified = (each for each in books.attempts if each.status == "VERIFIED" and each.currency == currency)
        ledger = sum(attempt.amount_atomic for attempt in verified)
        if chain != ledger:
            yield f"{currency}: {chain} base units left on chain, {ledger} are in the ledger"


def _transfers(books: Books, debits: Mapping[str, Sequence[Debit]]) -> Iterator[str]:
    """Each debit is one VERIFIED attempt, each VERIFIED attempt one debit, equal in everything."""
    sessions = {session.session_id: session for session in books.sessions}
    verified = {each.signature: each for each in books.attempts if each.status == "VERIFIED"}
    for account, found in debits.items():
        for debit in found:
            attempt = verified.pop(debit.signature, None)
            if attempt is None:
                yield f"{debit.signature} took {debit.amount_atomic} from {account} and is not VERIFIED in the ledger"
                continue
            session = sessions[attempt.session_id]
            shown = (debit.account, debit.memo, debit.amount_atomic)
            booked = (session.account, attempt.memo, attempt.amount_atomic)
            if shown != booked or session.authority not in debit.signers:
                yield f"{debit.signature}: the chain shows {shown} by {set(debit.signers)}, booked is {booked}"
    for signature, attempt in verified.items():
        yield f"attempt {attempt.number} of {attempt.key} is VERIFIED as {signature}, which is not on chain"


def _attempts(books: Books) -> Iterator[str]:
    for attempt in books.attempts:
        if attempt.status not in FINAL:
            yield f"attempt {attempt.number} of {attempt.key} is {attempt.status}"
    paid = Counter(attempt.key for attempt in books.attempts if attempt.status == "VERIFIED")
    for key, times in paid.items():
        if times > 1:
            yield f"request {key} was paid {times} times"


def _sessions(books: Books, debits: Mapping[str, Sequence[Debit]], holdings: Mapping[str, Holding]) -> Iterator[str]:
    for session in books.sessions:
        spent = sum(debit.amount_atomic for debit in debits[session.account])
        booked = [each for each in books.attempts if each.session_id == session.session_id and each.status != "FAILED"]
        yield from _limits(session, spent, booked)
        left = holdings[session.account]
        for what, atomic in (("balance", left.amount_atomic), ("delegation", left.delegated_atomic)):
            if atomic != session.allowance_atomic - spent:
                yield (
                    f"{session.agent} {session.currency}: {what} is {atomic}, not {session.allowance_atomic} - {spent}"
                )


def _limits(session: Session, spent: int, booked: Sequence[Attempt]) -> Iterator[str]:
    taken = sum(attempt.amount_atomic for attempt in booked)
    if max(spent, taken) > session.allowance_atomic:
        yield f"{session.agent} {session.currency}: {spent} spent, {taken} booked of {session.allowance_atomic} allowed"
    if len(booked) > session.tx_limit:
        yield f"{session.agent} {session.currency}: {len(booked)} payments of {session.tx_limit} allowed"


def _sellers(books: Books, debits: Mapping[str, Sequence[Debit]], holdings: Mapping[str, Holding]) -> Iterator[str]:
    """The sellers' accounts hold what left ours, and nothing else: nobody but us buys here."""
    got = sum(holdings[account].amount_atomic for account in {each.destination for each in books.attempts})
    left = sum(debit.amount_atomic for each in debits.values() for debit in each)
    if got != left:
        yield f"the sellers hold {got} base units, {left} left our accounts"


def _requests(purchases: Sequence[Purchase], refused: Mapping[str, str], books: Books) -> Iterator[str]:
    known = {request.name: request for request in books.requests}
    attempts: dict[str, list[Attempt]] = {}
    for attempt in books.attempts:
        attempts.setdefault(attempt.key, []).append(attempt)
    for purchase in purchases:
        name = f"{purchase.agent}/{purchase.request_id}"
        request = known.pop(name, None)
        if name in refused:
            yield f"{name} was not taken: {refused[name]}"
        elif request is None:
            yield f"{name} is not in the ledger"
        elif not request.closed or request.outcome not in PAID | UNPAID:
            yield f"{name} has not ended ({request.outcome})"
        else:
            yield from _ending(purchase, request, attempts.get(request.key, []))
    yield from (f"{name} was never asked for" for name in known)


def _ending(purchase: Purchase, request: Request, attempts: Sequence[Attempt]) -> Iterator[str]:
    verified = [attempt for attempt in attempts if attempt.status == "VERIFIED"]
    if request.outcome in UNPAID and verified:
        yield f"{request.name} ended as {request.outcome} ({request.error}), and {verified[0].signature} paid for it"
    if request.outcome == "undelivered" and not verified:
        yield f"{request.name} ended as undelivered, and nothing was paid"
    limit = purchase.max_price_atomic
    for attempt in attempts:
        if limit is not None and attempt.amount_atomic > limit:
            yield f"{request.name}: {attempt.amount_atomic} signed, at most {limit} was allowed"
        if purchase.currency not in (None, attempt.currency):
            yield f"{request.name}: signed in {attempt.currency}, asked for in {purchase.currency}"
    if request.outcome in ("delivered", "free"):
        yield from _content(purchase, request)
    said = (request.result or {}).get("transaction")
    if verified and said != verified[0].signature:
        yield f"{request.name} tells of transaction {said}, paid is {verified[0].signature}"


def _content(purchase: Purchase, request: Request) -> Iterator[str]:
    """The body is there, whole, and answers this very request."""
    if request.delivery != "DELIVERED" or request.body is None:
        yield f"{request.name} ended as {request.outcome}, and no body is stored ({request.delivery})"
        return
    if hashlib.sha256(request.body).hexdigest() != request.body_sha256:
        yield f"{request.name}: the body is not the one of its hash"
    said = json.loads(request.body)
    if purchase.question is not None:
        right = said.get("question_sha256") == hashlib.sha256(purchase.question.encode()).hexdigest()
    elif "topic=" in purchase.path:
        right = said.get("topic") == parse_qs(urlsplit(purchase.path).query)["topic"][0]
    else:
        right = ("status" if request.outcome == "free" else "quotes") in said
    if not right:
        yield f"{request.name}: the body answers something else: {request.body[:120]!r}"
