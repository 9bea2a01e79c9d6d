"""A payment is a list of attempts; an attempt has at most one outcome; `next_step` decides what is done next.

Pure: no clock, no I/O. The workflow keeps a `Payment`, asks `next_step`, does what it says through an activity,
and folds the activity's result back in with one of the transitions below.

Why this is safe: sending identical bytes again can transfer at most once, so `Submit` may repeat; *new* bytes
(`Sign`) are asked for only when every earlier attempt is `Dead`, which only the chain can prove.
"""

from typing import Annotated, Literal, assert_never

from pydantic import Field

from autopay.domain.values import Value

MAX_ATTEMPTS = 3
"""Signed attempts a request (the document's retry_count, max 3)."""

MAX_SENDS = 4
"""Times that one attempt's bytes are handed to the seller before the chain shows that it settled."""

FIRST_PAUSE_MS = 1_000
MAX_PAUSE_MS = 60_000
"""Before a seller that has the money is asked for its content again: doubles, so that it has time to come back."""


def settled_pause_ms(settled_sends: int) -> int:
    """The wait before the next send to a seller whose money has settled, after so many of these sends."""
    return int(min(FIRST_PAUSE_MS * 2 ** min(settled_sends, 20), MAX_PAUSE_MS))


def settled_sends_for(ask_for_ms: int) -> int:
    """How many sends after settlement it takes until their waits add up to that time."""
    count = waited_ms = 0
    while waited_ms < ask_for_ms:
        waited_ms += settled_pause_ms(count)
        count += 1
    return count


class Settlement(Value):
    """The transfer as the chain shows it; amounts in base units."""

    signature: str
    slot: int
    payer: str
    destination: str
    mint: str
    amount_atomic: int


class Settled(Value):
    """Landed without error, at finalized: the money is spent."""

    kind: Literal["settled"] = "settled"
    settlement: Settlement


class Dead(Value):
    """Proven that these bytes never did and never will transfer; `reason` is the ledger's error_code."""

    kind: Literal["dead"] = "dead"
    reason: str


class Seen(Value):
    """Landed without error, at confirmed; an outcome only once finalized."""

    kind: Literal["seen"] = "seen"
    settlement: Settlement
    retry_after_ms: int


class Unknown(Value):
    """Neither landed nor proven dead yet; look again after `retry_after_ms`."""

    kind: Literal["unknown"] = "unknown"
    reason: str
    retry_after_ms: int


Outcome = Annotated[Settled | Dead, Field(discriminator="kind")]
Verdict = Annotated[Settled | Dead | Seen | Unknown, Field(discriminator="kind")]


class Content(Value):
    """The seller's answer had what was bought, and the ledger has stored it; see `Reply` for the rest.

    `final_in_ms`: when a receipt came with it that says that it is paid, the time until the chain can show that as
    final; before, there is nothing to ask for.
    """

    kind: Literal["content"] = "content"
    http_status: int
    complete: bool | None = None
    encoding: str | None = None
    final_in_ms: int = 0


class Rejected(Value):
    """The seller answered without content: an error, a 402, a receipt that says no. Says nothing about the money."""

    kind: Literal["rejected"] = "rejected"
    http_status: int
    reason: str
    retry_after_ms: int | None = None
    location: str | None = None


class Conflict(Value):
    """The seller refuses for good: 409 (it knows other bytes under this id), 404, 422 and the like. Sign no more."""

    kind: Literal["conflict"] = "conflict"
    http_status: int = 409


class NoAnswer(Value):
    """Time-out, reset or a body cut short: the bytes may or may not have arrived."""

    kind: Literal["no_answer"] = "no_answer"
    reason: str


SellerAnswer = Annotated[Content | Rejected | Conflict | NoAnswer, Field(discriminator="kind")]


class Attempt(Value):
    """One signed payment. `looks` counts questions to the chain since it was last handed to the seller, `settled_sends`
    those of its sends that began when it had settled: what they ask for is owed."""

    number: int
    sends: int = 0
    settled_sends: int = 0
    looks: int = 0
    seen: bool = False
    outcome: Outcome | None = None
    signature: str | None = None
    last_answer: str | None = None
    retry_after_ms: int = 0
    seller_wait_ms: int = 0
    final_in_ms: int = 0

    @property
    def refused_since_settled(self) -> bool:
        """Whether the seller refused for good when it could know that it was paid."""
        return self.settled_sends > 0 and self.last_answer == "conflict"


class ContentFacts(Value):
    """What is known of the content: see `RequestResult`."""

    complete: bool | None = None
    encoding: str | None = None
    location: str | None = None


class Payment(Value):
    """All that `next_step` needs to know of a request: its attempts, oldest first, and what came back.

    `max_settled_sends` is 0 in runs that 0.2.0 began: they count all sends together.
    """

    attempts: tuple[Attempt, ...] = ()
    delivered: bool = False
    http_status: int | None = None
    content: ContentFacts = ContentFacts()
    conflict: bool = False
    max_attempts: int = MAX_ATTEMPTS
    max_sends: int = MAX_SENDS
    max_settled_sends: int = 0

    @property
    def last(self) -> Attempt | None:
        """The newest attempt; every earlier one is dead."""
        return self.attempts[-1] if self.attempts else None

    @property
    def is_settled(self) -> bool:
        """Whether the newest attempt is final on chain."""
        return self.last is not None and isinstance(self.last.outcome, Settled)

    @property
    def asks_for_what_settled(self) -> bool:
        """Whether a send asks for content that is owed, and counts as such; never in runs that 0.2.0 began."""
        return self.is_settled and self.max_settled_sends > 0

    @property
    def decided(self) -> tuple[bool, tuple[str | None, ...]]:
        """What a run and the ledger must agree on before the request can end: the content, and every outcome."""
        return self.delivered, tuple(each.outcome.kind if each.outcome else None for each in self.attempts)

    def _replace_last(self, **changes: object) -> "Payment":
        assert self.attempts
        last = self.attempts[-1].model_copy(update=changes)
        return self.model_copy(update={"attempts": (*self.attempts[:-1], last)})

    def with_attempt(self, number: int, max_settled_sends: int | None = None) -> "Payment":
        """The ledger has recorded attempt `number`; nothing has left yet. What settles is asked for so often."""
        assert number == len(self.attempts) + 1
        assert all(isinstance(attempt.outcome, Dead) for attempt in self.attempts)
        asks = self.max_settled_sends if max_settled_sends is None else max_settled_sends
        changes = {"attempts": (*self.attempts, Attempt(number=number)), "max_settled_sends": asks}
        return self.model_copy(update=changes | {"http_status": None})

    def with_http_status(self, http_status: int | None) -> "Payment":
        """The seller's newest answer had that status; None: it was not asked."""
        return self.model_copy(update={"http_status": http_status})

    def with_answer(self, answer: SellerAnswer) -> "Payment":
        """The newest attempt's bytes were handed to the seller, and this came back."""
        assert self.last is not None
        sent = self._replace_last(
            sends=self.last.sends + 1,
            final_in_ms=0,
            settled_sends=self.last.settled_sends + isinstance(self.last.outcome, Settled),
            looks=0,
            last_answer=answer.kind,
            retry_after_ms=0,
            seller_wait_ms=0,
        )
        match answer:
            case Content(http_status=status, complete=complete, encoding=encoding, final_in_ms=final_in_ms):
                content = self.content.model_copy(update={"complete": complete, "encoding": encoding})
                sent = sent._replace_last(final_in_ms=final_in_ms)
                return sent.model_copy(update={"delivered": True, "http_status": status, "content": content})
            case Rejected(http_status=status, retry_after_ms=wait, location=location):
                content = self.content.model_copy(update={"location": location or self.content.location})
                changes = {"http_status": status, "content": content}
                return sent._replace_last(seller_wait_ms=wait or 0).model_copy(update=changes)
            case Conflict(http_status=status):
                return sent.model_copy(update={"conflict": True, "http_status": status})
            case NoAnswer():
                return sent
            case _:
                assert_never(answer)

    def with_verdict(self, verdict: Verdict) -> "Payment":
        """The chain was asked about the newest attempt, and this is what it showed."""
        assert self.last is not None
        assert self.last.outcome is None
        looks = self.last.looks + 1
        match verdict:
            case Settled(settlement=settlement) | Seen(settlement=settlement):
                outcome = verdict if isinstance(verdict, Settled) else None
                wait = 0 if isinstance(verdict, Settled) else verdict.retry_after_ms
                return self._replace_last(
                    looks=looks, seen=True, outcome=outcome, signature=settlement.signature, retry_after_ms=wait
                )
            case Dead():
                return self._replace_last(looks=looks, seen=False, outcome=verdict, signature=None, retry_after_ms=0)
            case Unknown(retry_after_ms=wait):
                return self._replace_last(looks=looks, retry_after_ms=wait)
            case _:
                assert_never(verdict)


class Sign(Value):
    """Ask the seller for its terms, agree to them, and record a new attempt."""

    kind: Literal["sign"] = "sign"
    number: int


class Submit(Value):
    """Hand the recorded bytes of this attempt to the seller, `wait_ms` from now."""

    kind: Literal["submit"] = "submit"
    number: int
    send: int
    wait_ms: int = 0


class Verify(Value):
    """Ask the chain what became of this attempt, `wait_ms` from now."""

    kind: Literal["verify"] = "verify"
    number: int
    wait_ms: int = 0


class Done(Value):
    """Nothing is left to do. `unpaid` means that it is proven that nothing was transferred."""

    kind: Literal["done"] = "done"
    result: Literal["delivered", "undelivered", "unpaid", "delivered_unpaid"]


Step = Sign | Submit | Verify | Done


def next_step(payment: Payment) -> Step:
    """What to do next. An attempt without an outcome blocks every other.

    | newest attempt | content | then |
    |---|---|---|
    | none | – | sign the first |
    | recorded, never handed over | – | submit |
    | handed over, not looked at since | stored, with a receipt that it is paid | verify, when it can be final |
    | handed over, not looked at since | otherwise | verify, at once |
    | no outcome, looked at | missing, sends left, no conflict | submit the same bytes again |
    | no outcome, looked at | otherwise | verify, after the verdict's wait |
    | settled | stored | done: delivered |
    | settled | missing, not refused since, sends after settlement left | submit the same bytes: the content is ours |
    | settled | missing, otherwise | done: undelivered |
    | dead | stored | done: delivered, unpaid |
    | dead | missing, no conflict, attempts left | sign the next |
    | dead | missing, otherwise | done: unpaid |
    """
    last = payment.last
    if last is None:
        return Sign(number=1)
    if last.sends == 0 and last.outcome is None:
        return Submit(number=last.number, send=1)
    again = Submit(number=last.number, send=last.sends + 1, wait_ms=_wait_before_sending(last))
    may_send = not payment.delivered and last.sends < payment.max_sends
    match last.outcome:
        case None if last.looks == 0:
            return Verify(number=last.number, wait_ms=last.final_in_ms)
        case None:
            return (
                again if may_send and not payment.conflict else Verify(number=last.number, wait_ms=last.retry_after_ms)
            )
        case Settled():
            if payment.delivered:
                return Done(result="delivered")
            may_ask = _may_ask_again(payment, last) if payment.max_settled_sends else may_send
            return again if may_ask else Done(result="undelivered")
        case Dead():
            if payment.delivered:
                return Done(result="delivered_unpaid")
            if payment.conflict or last.number >= payment.max_attempts:
                return Done(result="unpaid")
            return Sign(number=last.number + 1)
        case _:
            assert_never(last.outcome)


def _wait_before_sending(last: Attempt) -> int:
    """Milliseconds: a seller that has the money gets more time with each send; its own Retry-After is respected."""
    if isinstance(last.outcome, Settled):
        return max(last.seller_wait_ms, settled_pause_ms(last.settled_sends))
    if last.seen:
        return max(last.seller_wait_ms, settled_pause_ms(last.sends - 1))
    return max(last.seller_wait_ms, last.retry_after_ms)


def _may_ask_again(payment: Payment, last: Attempt) -> bool:
    """Whether the seller is asked once more for what is paid. A refusal for good counts from when it could know."""
    return not last.refused_since_settled and last.settled_sends < payment.max_settled_sends
