"""Says from outside whether money was handled right: reads the chain, the trace and the ledger's rows, nothing else.

Shares no code with the product: nothing of it may be imported here. Statuses are compared as the text they are.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.simulation.audit_events import events_tell_the_truth, payment_row, request_row

OPEN = ("PENDING", "RETRYING", "SUCCESS")
SOON_MS = 1_200_000
"""Three signed payments of which none lands, each until its death is proven, and the longest waits between them."""
REFUSALS = (400, 409)
"""Answers by which the simulated sellers refuse a payment for good."""
LEAST_ASKS = 6
"""Sends to a seller that keeps silent, since its money was there: as many as the simulated minute has."""


def audit(chain: Any, trace: Any, rows: Any) -> list[str]:
    """Every rule that was broken, in words; empty when all is well."""
    audited = _Audit(chain, trace, rows)
    return [violation for rule in audited.rules() for violation in rule]


class _Audit:
    def __init__(self, chain: Any, trace: Any, rows: Any) -> None:
        self.chain = chain
        self.events = trace.events
        self.requests = list(rows.requests.values())
        self.attempts = list(rows.attempts.values())
        self.sessions = rows.sessions
        self.policy = rows.policy
        self.phases = {name: agent.phase for name, agent in rows.agents.items()}
        self.chains = rows.book.chains
        self.rows = {each.key: request_row(each) for each in self.requests} | {
            str(each.attempt_id): payment_row(each) for each in self.attempts
        }
        self.recorded = {str(event.facts["attempt"]): event for event in self.events if event.kind == "recorded"}
        self.landed = {each.message_hash: each for each in chain.transactions}

    def rules(self) -> Iterator[Iterator[str]]:
        yield self.at_most_one_transfer_a_request()
        yield self.nothing_leaves_unrecorded()
        yield self.a_new_attempt_only_after_the_earlier_are_dead()
        yield self.booked_is_what_settled()
        yield self.no_limit_is_exceeded()
        yield self.no_day_is_exceeded()
        yield self.a_person_said_yes()
        yield self.outcomes_are_true()
        yield self.what_settled_is_asked_for()
        yield self.an_end_tells_of_stored_content()
        yield self.what_was_told_is_kept()
        yield self.every_request_ends()
        yield self.requests_end_soon_after_the_last_fault()
        yield self.nothing_is_signed_after_a_cancel()
        yield self.nobody_believes_that_the_ledger_forgot()
        yield self.no_odd_answer_is_believed()
        yield events_tell_the_truth(self.chains, self.rows)

    def transfer_of(self, attempt: Any) -> Any:
        """The attempt's own transfer, if it landed and moved money."""
        landed = self.landed.get(attempt.signed.message_hash)
        return landed if landed is not None and landed.error is None else None

    def at_most_one_transfer_a_request(self) -> Iterator[str]:
        """Counted over every byte that a seller was ever handed for it, recorded or not."""
        handed: dict[str, set[str]] = defaultdict(set)
        for event in self.events:
            if event.kind == "handed":
                handed[event.facts["identifier"]].add(event.facts["message_hash"])
        for request, hashes in sorted(handed.items()):
            paid = [self.landed[each] for each in hashes if each in self.landed and self.landed[each].error is None]
            if len(paid) > 1:
                yield f"{request} was paid {len(paid)} times"

    def nothing_leaves_unrecorded(self) -> Iterator[str]:
        known = {event.facts["message_hash"]: event for event in self.recorded.values()}
        rows = {each.signed.message_hash: each for each in self.attempts}
        sending = {str(event.facts["attempt"]): event.seq for event in reversed(self.events) if event.kind == "sending"}
        for event in self.events:
            if event.kind != "handed":
                continue
            recorded, row = known.get(event.facts["message_hash"]), rows.get(event.facts["message_hash"])
            if recorded is None or recorded.seq > event.seq or row is None:
                yield f"bytes of {event.facts['identifier']} left at {event.at_ms} ms before the ledger had them"
            elif row.request_key != event.facts["identifier"] or row.signed.buyer_signature != event.facts["signature"]:
                yield f"other bytes than the recorded ones left for {event.facts['identifier']}"
            elif sending.get(str(row.attempt_id), event.seq) >= event.seq:
                yield f"attempt {row.number} of {row.request_key} left, and no sending was counted"

    def a_new_attempt_only_after_the_earlier_are_dead(self) -> Iterator[str]:
        for request in self.requests:
            for index, attempt in enumerate(request.attempts):
                for earlier in request.attempts[:index]:
                    if self.could_land(earlier, attempt.recorded_at_ms):
                        yield (
                            f"attempt {attempt.number} of {request.key} was signed at {attempt.recorded_at_ms} ms, "
                            f"when attempt {earlier.number} had settled or could still"
                        )

    def could_land(self, attempt: Any, at_ms: int) -> bool:
        """The attempt's transfer is on chain, or could get there after that moment."""
        landed = self.landed.get(attempt.signed.message_hash)
        if landed is not None and landed.error is None:
            return True
        if landed is not None and landed.height <= self.chain.final_height_at(at_ms):
            return False
        return bool(self.chain.final_height_at(at_ms) <= attempt.signed.last_valid_block_height)

    def booked_is_what_settled(self) -> Iterator[str]:
        """To the unit, by session: what its key moved on chain, and what the ledger says it paid."""
        for session in self.sessions:
            key = session.key
            moved = sum(each.amount for each in self.chain.transactions if _moved_by(each, key))
            mine = [each for each in self.attempts if each.session.session_id == key.session_id]
            booked = sum(each.amount_atomic for each in mine if each.status.value in ("SUCCESS", "VERIFIED"))
            if moved != booked:
                yield f"{session.agent}: {moved} base units left the account, {booked} are booked"

    def no_limit_is_exceeded(self) -> Iterator[str]:
        """At every reservation: all that was paid or could still be, whatever the ledger believes of it."""
        for session in self.sessions:
            mine = [each for each in self.attempts if each.session.session_id == session.key.session_id]
            for attempt in mine:
                now = attempt.recorded_at_ms
                taken = [
                    each
                    for each in mine
                    if each is attempt or (each.recorded_seq < attempt.recorded_seq and self.could_land(each, now))
                ]
                if sum(each.amount_atomic for each in taken) > session.key.allowance_atomic:
                    yield f"{session.agent} reserved more than the allowance at {now} ms"
                if len(taken) > session.tx_limit:
                    yield f"{session.agent} has {len(taken)} payments at {now} ms, the limit is {session.tx_limit}"
                if now >= session.expires_at_ms:
                    yield f"{session.agent} signed at {now} ms, after its session's end"

    def no_day_is_exceeded(self) -> Iterator[str]:
        """All seeds end within their first day: at every reservation, of one agent in all and at one host."""
        for attempt in self.attempts:
            earlier = [each for each in self.attempts if each.recorded_seq <= attempt.recorded_seq]
            mine = [each for each in earlier if each.agent == attempt.agent]
            alive = [each for each in mine if each is attempt or self.could_land(each, attempt.recorded_at_ms)]
            here = [each for each in alive if self.host_of(each) == self.host_of(attempt)]
            for limit, taken in ((self.policy.per_agent_day_atomic, alive), (self.policy.per_host_day_atomic, here)):
                if limit is not None and sum(each.amount_atomic for each in taken) > limit:
                    yield f"{attempt.agent} took more than the day's limit at {attempt.recorded_at_ms} ms"

    def host_of(self, attempt: Any) -> str:
        """Where the attempt's request goes."""
        url = next(each.spec.url for each in self.requests if each.key == attempt.request_key)
        return str(url.split("/")[2])

    def a_person_said_yes(self) -> Iterator[str]:
        """To exactly what was signed, before it was signed, wherever the agent has to ask."""
        for attempt in self.attempts:
            asks = self.phases[attempt.agent] == "INTERACTIVE"
            if not asks or attempt.amount_atomic <= self.policy.auto_approve_atomic:
                continue
            terms = (attempt.signed.offer.mint, attempt.signed.offer.pay_to, attempt.amount_atomic)
            words = [
                event.facts["approve"]
                for event in self.events[: attempt.recorded_seq]
                if event.kind == "said"
                and event.facts["request"] == attempt.request_key
                and tuple(event.facts["terms"][name] for name in ("mint", "pay_to", "amount_atomic")) == terms
            ]
            if not words or not words[-1]:
                yield f"attempt {attempt.number} of {attempt.request_key} was signed without a person's yes to it"

    def outcomes_are_true(self) -> Iterator[str]:
        for attempt in self.attempts:
            name, transfer = f"attempt {attempt.number} of {attempt.request_key}", self.transfer_of(attempt)
            if attempt.status.value == "FAILED" and transfer is not None:
                yield f"{name} is FAILED ({attempt.error_code}) and settled"
            if attempt.status.value == "VERIFIED" and transfer is None:
                yield f"{name} is VERIFIED and never settled"
            elif attempt.status.value == "VERIFIED" and attempt.signature != transfer.signature:
                yield f"{name} is VERIFIED by another transaction's signature"
            elif attempt.status.value == "VERIFIED" and attempt.slot != transfer.slot:
                yield f"{name} is VERIFIED at slot {attempt.slot}, it landed at {transfer.slot}"
        for request in self.requests:
            yield from self._end_is_true(request)

    def _end_is_true(self, request: Any) -> Iterator[str]:
        if request.result is None:
            return
        status, key = request.result.status.value, request.key
        paid = any(self.transfer_of(each) is not None for each in request.attempts)
        if status in ("failed", "refused", "free") and paid:
            yield f"{key} ended as {status}, and was paid"
        if status == "undelivered" and not paid:
            yield f"{key} ended as paid and undelivered, and was not paid"
        if paid and request.body is None and (status != "undelivered" or request.delivery != "UNDELIVERED"):
            yield f"{key} was paid, has no content and is not listed as undelivered"
        if status in ("delivered", "free") and request.body is None:
            yield f"{key} ended as {status} without content"

    def what_settled_is_asked_for(self) -> Iterator[str]:
        """A request that ends as undelivered has asked its seller again since the money was there, unless refused."""
        canceled = {event.facts["request"] for event in self.events if event.kind == "canceled"}
        for request in self.requests:
            if request.result is None or request.result.status.value != "undelivered" or request.key in canceled:
                continue
            settled = [each for each in request.attempts if each.status.value == "VERIFIED"]
            if len(settled) != 1:  # paid never, or more than once: other rules say so
                continue
            [paid] = settled
            asks, refused = self.since_settled(str(paid.attempt_id), request.key)
            if not refused and asks < LEAST_ASKS:
                yield f"{request.key} ended as undelivered, after {asks} sends since it settled"

    def since_settled(self, attempt: str, request: str) -> tuple[int, bool]:
        """Sends of an attempt from when the ledger knew that it settled until its request ended, and whether an answer
        since then refused for good."""
        ends = [event.seq for event in self.events if event.kind == "closed" and event.facts["request"] == request]
        before = self.events[: min(ends, default=None)]
        mine = [event for event in before if str(event.facts.get("attempt")) == attempt]
        settled = next(event.seq for event in mine if event.kind == "seen" and event.facts["final"])
        asks = [event.seq for event in mine if event.kind == "sending" and event.seq > settled]
        answers = [event for event in mine if event.kind == "answer" and asks and event.seq > asks[0]]
        # Of two runs at once, one may close by its refusal while the other hears something else.
        return len(asks), any(event.facts["status"] in REFUSALS for event in answers)

    def an_end_tells_of_stored_content(self) -> Iterator[str]:
        """Content that was stored before a request ended is what it ended with; and nothing is signed after it."""
        delivered: dict[str, int] = {}
        owner = {str(each.attempt_id): each.request_key for each in self.attempts}
        for event in self.events:
            key = event.facts.get("request")
            if event.kind == "answer" and 200 <= event.facts["status"] < 300:
                delivered.setdefault(owner[str(event.facts["attempt"])], event.at_ms)
            elif event.kind == "recorded" and key in delivered:
                yield f"{key} was delivered at {delivered[key]} ms, and signed for again at {event.at_ms} ms"
            elif event.kind == "closed" and key in delivered and event.facts["status"] not in ("delivered", "free"):
                yield f"{key} was delivered at {delivered[key]} ms, and ended as {event.facts['status']}"

    def what_was_told_is_kept(self) -> Iterator[str]:
        """Content and claims that the ledger was given are in it."""
        rows = {str(each.attempt_id): each for each in self.attempts}
        requests = {each.key: each for each in self.requests}
        for event in self.events:
            if event.kind != "answer":
                continue
            row = rows[str(event.facts["attempt"])]
            request = requests[row.request_key]
            if 200 <= event.facts["status"] < 300 and (request.delivery != "DELIVERED" or request.body is None):
                yield f"content of {row.request_key} arrived and is not stored"
            if event.facts["claim"] and event.facts["claim"] not in row.claims:
                yield f"a receipt for {row.request_key} named a transaction, which is not kept"

    def every_request_ends(self) -> Iterator[str]:
        for request in self.requests:
            if not request.closed or request.result is None:
                yield f"{request.key} is not closed"
            if any(each.status.value in OPEN for each in request.attempts):
                yield f"{request.key} has a payment without an outcome"

    def requests_end_soon_after_the_last_fault(self) -> Iterator[str]:
        """Unless a person may have to be waited for."""
        calm_ms = max((event.at_ms for event in self.events if event.kind == "calm"), default=10**12)
        asking = {request.key for request in self.requests if self.phases[request.agent] == "INTERACTIVE"}
        for event in self.events:
            if event.kind == "closed" and event.facts["request"] not in asking and event.at_ms > calm_ms + SOON_MS:
                yield f"{event.facts['request']} ended {(event.at_ms - calm_ms) / 1000:.0f} s after the last fault"

    def nothing_is_signed_after_a_cancel(self) -> Iterator[str]:
        """By a run that had been told of it before it began to sign."""
        for event in self.events:
            if event.kind == "signing" and event.facts["canceled"]:
                yield f"{event.facts['request']} was canceled, and then signed at {event.at_ms} ms"

    def nobody_believes_that_the_ledger_forgot(self) -> Iterator[str]:
        """No world restores its ledger, so every fence is a false alarm."""
        for event in self.events:
            if event.kind == "fenced":
                yield f"a fence was raised at {event.at_ms} ms: {event.facts['reason']}"

    def no_odd_answer_is_believed(self) -> Iterator[str]:
        """What is no answer to the question is a fault of the node, whatever was asked."""
        for event in self.events:
            if event.kind == "believed":
                yield f"{event.facts['method']}: {event.facts['odd']} was read as {event.facts['made_of_it']}"


def _moved_by(transaction: Any, key: Any) -> bool:
    return (transaction.authority, transaction.source, transaction.error) == (key.authority, key.source_account, None)
