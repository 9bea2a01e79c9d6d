"""What happens to one request of a program, whichever library sends it, with an event loop or without.

1. With a key of the caller's, or as the repetition of a call that had no answer, the ledger is asked first.
2. The request is sent as it is. What is no 402, or no x402 demand, passes through untouched.
3. A demand goes to the agent, under the caller's key or a new one.

`steps` decides, and yields what is to be done; `run` and `run_async` do it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from autopay.client.asking import make_ask
from autopay.client.errors import AutopayError, InvalidCall
from autopay.transport.answers import Answer
from autopay.transport.bodies import Beginning, KeptBody
from autopay.transport.demand import NotPaid, headers_to_seller, not_payable
from autopay.transport.options import Limits, Options, options_of
from autopay.transport.payer import Call, with_new_id
from autopay.transport.unanswered import UnansweredCalls

TRIED_AGAIN = frozenset({408, 409, 425, 429})
"""Beside 5xx, the answers after which libraries make the same call again by themselves."""


@dataclass(frozen=True)
class Asked:
    """What a library's request says.

    `given` is its `extensions["autopay"]`, `read_timeout_s` how long it waits for an answer: infinite without a limit,
    None when it does not say.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    given: object = None
    read_timeout_s: float | None = None


class Library(Protocol):
    """What is done with a library's own objects."""

    def asked(self, request: Any) -> Asked:
        """What the request says."""
        ...

    def prepared(self, request: Any) -> tuple[Any, KeptBody]:
        """The request as it is sent, and the copy of its body that this makes."""
        ...

    def demand(self, response: Any, beginning: Beginning) -> Any | None:
        """The 402 as an answer that is read and closed; None when it is no demand: then it can be read from its start.

        An answer that is no demand stays as it is for the caller.
        """
        ...

    def answered(self, request: Any, answer: Answer) -> Any:
        """The library's response."""
        ...

    def passed_on(self, demand: Any, why: NotPaid) -> Any:
        """The demand, as the response that the caller gets."""
        ...

    def error(self, request: Any, error: AutopayError, demand: Any | None) -> Exception:
        """The library's error; `demand` is what was not paid, if the seller was asked."""
        ...


@dataclass(frozen=True)
class Recall:
    """Ask the ledger for the call's answer; see `Payer.recall`."""

    call: Call


@dataclass(frozen=True)
class Send:
    """Send the request; gives the library's response, with its body unread."""

    request: Any


@dataclass(frozen=True)
class ReadBeginning:
    """Read the beginning of the response's body; gives a `Beginning`."""

    response: Any


@dataclass(frozen=True)
class Discard:
    """Close the response, which no caller gets."""

    response: Any


@dataclass(frozen=True)
class Buy:
    """Have the agent buy the call's answer; see `Payer.buy`."""

    call: Call


Step = Recall | Send | ReadBeginning | Discard | Buy


def steps(library: Library, unanswered: UnansweredCalls, limits: Limits, request: Any) -> Generator[Step, Any, Any]:
    """What is to be done for the request; returns the library's response, or raises its error."""
    asked = library.asked(request)
    try:
        options = options_of(asked.given, asked.headers, limits)
    except InvalidCall as error:
        raise library.error(request, error, None) from error
    sent, body = library.prepared(request)
    call = _call(asked, options, body.content)
    if body.is_known:
        call = _with_id_of_unanswered(call, unanswered)
    if call.id is not None:
        try:
            answer = yield Recall(call)
        except AutopayError as error:
            raise library.error(request, error, None) from error
        if answer is not None:
            return library.answered(request, answer)
    try:
        response, demand = yield from _asked_seller(library, sent)
    except BaseException:
        _leave(call, unanswered)
        raise
    if demand is None:
        if response.status_code >= 500 or response.status_code in TRIED_AGAIN:
            _leave(call, unanswered)
        return response
    yield Discard(response)
    call = _with_id_of_unanswered(replace(call, body=body.content), unanswered)
    why = _not_payable(call, asked, body)
    if why is not None:
        return library.passed_on(demand, why)
    try:
        answer = yield Buy(with_new_id(call))
    except AutopayError as error:
        if error.type == "too_large":
            return library.passed_on(demand, NotPaid(type=error.type, message=f"{error}: nothing was paid"))
        raise library.error(request, error, demand) from error
    return library.answered(request, answer)


def _call(asked: Asked, options: Options, body: bytes | None) -> Call:
    return Call(
        method=asked.method,
        url=asked.url,
        headers=headers_to_seller(asked.headers),
        body=body,
        limits=options.limits,
        wait_s=options.limits.wait_s(asked.read_timeout_s),
        id=options.id,
        has_key=options.id is not None,
    )


def _with_id_of_unanswered(call: Call, unanswered: UnansweredCalls) -> Call:
    return call if call.id is not None else replace(call, id=unanswered.take(call.asked))


def _asked_seller(library: Library, request: Any) -> Generator[Step, Any, tuple[Any, Any | None]]:
    """The seller's answer to the request as it is, and its demand, when it is one."""
    response = yield Send(request)
    if response.status_code != 402:
        return response, None
    try:
        beginning = yield ReadBeginning(response)
    except BaseException:
        yield Discard(response)  # else its connection would be nobody's
        raise
    return response, library.demand(response, beginning)


def _leave(call: Call, unanswered: UnansweredCalls) -> None:
    """Leave the id of a call that had no answer before to its next repetition: this one has none from its seller.

    The ledger does not know the request, which an agent may accept all the same as soon as a worker runs.
    """
    if call.id is not None and not call.has_key:
        unanswered.keep(call.asked, call.id)


def _not_payable(call: Call, asked: Asked, body: KeptBody) -> NotPaid | None:
    why = not_payable(call.method, dict(asked.headers), call.body, body_kept=body.is_whole)
    if why is not None:
        return why
    try:
        make_ask(call.url, method=call.method, content=call.body)
    except InvalidCall as error:
        return NotPaid(type=error.type, message=f"{error}: nothing was paid")
    return None


def run(plan: Generator[Step, Any, Any], do: Callable[[Step], Any]) -> Any:
    """Do the steps of a plan, one after the other."""
    try:
        step = next(plan)
        while True:
            try:
                done = do(step)
            except BaseException as error:
                step = plan.throw(error)
            else:
                step = plan.send(done)
    except StopIteration as end:
        return end.value


async def run_async(plan: Generator[Step, Any, Any], do: Callable[[Step], Awaitable[Any]]) -> Any:
    """Do the steps of a plan, one after the other, in an event loop."""
    try:
        step = next(plan)
        while True:
            try:
                done = await do(step)
            except BaseException as error:
                step = plan.throw(error)
            else:
                step = plan.send(done)
    except StopIteration as end:
        return end.value
