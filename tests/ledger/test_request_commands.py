"""`request` and `show` about requests that the ledger knows already: nothing is asked, and what is said is true."""

import json

import pytest

from autopay.domain.request import RequestError, RequestStatus
from tests.ledger.books import JSON_REPLY, Book
from tests.ledger.operator import Operator

URL = "https://market.test/api/market-feed?x=1"


async def delivered(book: Book) -> None:
    """request-1 of an agent "buyer", paid and delivered."""
    attempt = await book.recorded()
    await book.delivered(attempt)
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.DELIVERED)


async def undelivered(book: Book) -> None:
    """request-1, paid and not delivered."""
    attempt = await book.recorded()
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.UNDELIVERED)


async def under_way(book: Book) -> None:
    """request-1, signed and sent."""
    await book.recorded()


async def failed(book: Book) -> None:
    """request-1, proven not paid."""
    attempt = await book.recorded()
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    result = await book.ledger.requests.result(attempt.request_key)
    why = RequestError(type="payment_not_settled", message="no answer came")
    end = result.model_copy(update={"status": RequestStatus.FAILED, "error": why})
    await book.ledger.requests.close(attempt.request_key, end)


@pytest.mark.parametrize(
    ("story", "status"), [(delivered, "delivered"), (undelivered, "undelivered"), (under_way, "unresolved")]
)
def test_other_terms_for_the_id_of_a_paid_request_say_what_became_of_that_one(
    operator: Operator, story: object, status: str
) -> None:
    operator.do(story)  # type: ignore[arg-type]
    asked = ("request", URL + "&other", "--agent", "buyer", "--id", "request-1")
    out, _ = operator(*asked, "--json", code=2)
    result = json.loads(out)
    assert result["error"]["type"] == "terms_differ"
    assert (result["status"], result["price"], result["asked_now"]) == (status, "0.001000", False)
    assert (result["transaction"] is None) == (status == "unresolved")
    out, err = operator(*asked, code=2)
    assert out == ""
    assert f"with another URL ({URL}, not {URL}&other), which is {status}, " in err
    assert "0.001000 USDC" in err
    assert "nothing was asked now: use another id" in err
    assert "to see that one: autopay show request-1 --agent buyer" in err


@pytest.mark.parametrize(
    ("story", "code", "next_step"),
    [
        (delivered, 0, f"to buy it anew: autopay request '{URL}' --agent buyer --fresh"),
        (undelivered, 5, "to ask the seller again, without paying: autopay retry request-1 --agent buyer"),
        (failed, 4, f"to try again: autopay request '{URL}' --agent buyer"),
    ],
)
def test_a_request_that_had_ended_says_when_and_that_nothing_was_asked_now(
    operator: Operator, story: object, code: int, next_step: str
) -> None:
    operator.do(story)  # type: ignore[arg-type]
    asked = ("request", URL, "--agent", "buyer", "--id", "request-1")
    _, err = operator(*asked, code=code)
    assert "it ended at 20" in err
    assert f"; nothing was asked or paid now; {next_step}\n" in err
    result = json.loads(operator(*asked, "--json", code=code)[0])
    assert result["ended_at"] is not None
    assert result["asked_now"] is False


def test_show_prints_a_request_with_its_payment_receipt_timeline_and_content(operator: Operator) -> None:
    operator.do(delivered)
    out, err = operator("show", "request-1")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0].startswith("request-1 of agent buyer: delivered, paid 0.001000 USDC, to seller, tra")
    assert f"for        GET {URL}" in lines
    assert "payment 1: VERIFIED, 0.001 USDC" in lines
    assert "receipt    success True, transaction claim" in lines
    assert any("submitted, 0.001 USDC" in line for line in lines)
    assert any(line.endswith("ended: delivered") for line in lines)
    assert JSON_REPLY.body.decode() in lines
    assert "to buy it anew: autopay request" in err
    shown = json.loads(operator("show", "request-1", "--agent", "buyer", "--json")[0])
    assert shown["payments"][0]["receipt"] == {"success": True, "transaction": "claim"}
    assert shown["timeline"][0]["kind"] == "api_request_logs.created"
    assert shown["content_text"] == JSON_REPLY.body.decode()
    assert operator("show", "request-1", "--content")[0] == JSON_REPLY.body.decode()


def test_show_of_an_open_request_ends_with_code_7_and_waits_only_as_long_as_asked(operator: Operator) -> None:
    operator.do(under_way)
    out, err = operator("show", "request-1", "--wait", "--timeout", "0.1s", code=7)
    assert "ended      not yet" in out
    assert "content: none" in out
    assert "to wait for its end: autopay show request-1 --agent buyer --wait" in err


@pytest.mark.parametrize("agent", [[], ["--agent", "buyer"]])
def test_show_of_an_unknown_request_says_where_to_look(operator: Operator, agent: list[str]) -> None:
    operator.do(under_way)
    _, err = operator("show", "report-7", *agent, code=2)
    assert "no request 'report-7'; see: autopay ledger show --kind all" in err
