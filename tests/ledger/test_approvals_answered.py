"""What `approve` and `deny` find in the ledger: by the beginning of an id, and what can be answered no more."""

import pytest

from autopay.cli.terminal.exit_codes import ExitCode, code_of
from autopay.client.errors import AutopayError
from autopay.client.requests.decisions import decide_approval, find_approval
from autopay.domain.policy.policy import Awaiting
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import RequestStatus
from autopay.settings import Settings
from tests.ledger.books import Book
from tests.ledger.terms import accepted, approval, as_owner_of_the_database, asked, decide, interactive, paid


@pytest.fixture
async def asking(book: Book) -> Book:
    """A book whose agent asks a person about everything."""
    return await interactive(book)


async def refusal(book: Book, row: ApprovalRecord, *, approve: bool) -> str:
    """Why a word comes too late; Temporal, which nobody has told these settings of, is not asked."""
    with pytest.raises(AutopayError) as caught:
        await decide_approval(Settings(), book.ledger, row, approve=approve)
    assert code_of(caught.value) is ExitCode.REFUSED
    return str(caught.value)


async def found(book: Book, question: Awaiting) -> ApprovalRecord:
    return await find_approval(book.ledger, str(question.approval_id))


async def test_an_approval_is_found_by_the_beginning_of_its_id(asking: Book) -> None:
    one, two = await asked(asking), await asked(asking)
    name = str(one.approval_id)
    for text in (name, name.upper(), name.replace("-", ""), name[:-2]):
        assert (await find_approval(asking.ledger, text)).approval_id == one.approval_id
    with pytest.raises(AutopayError, match="may mean 2 approvals"):
        await find_approval(asking.ledger, name[:4])
    assert str(two.approval_id)[:4] == name[:4]


async def test_a_beginning_never_means_a_question_that_took_the_place_of_another(asking: Book) -> None:
    seen, unseen = await asked(asking), await asked(asking)
    await decide(asking, seen, approve=False)
    with pytest.raises(AutopayError, match="may mean 2 approvals"):
        await find_approval(asking.ledger, str(seen.approval_id)[:4])
    assert (await approval(asking, unseen.approval_id)).status == "PENDING"


@pytest.mark.parametrize("text", ["", "abc", "xyzw", "%%%%", "0" * 33])
async def test_what_is_no_id_is_told(asking: Book, text: str) -> None:
    with pytest.raises(AutopayError, match="is not an approval's id"):
        await find_approval(asking.ledger, text)


async def test_an_approval_that_is_not_there_is_told(asking: Book) -> None:
    with pytest.raises(AutopayError, match="there is no approval 'ffff'"):
        await find_approval(asking.ledger, "ffff")


async def test_the_same_word_again_is_no_news(asking: Book) -> None:
    for approve in (True, False):
        question = await asked(asking)
        await decide(asking, question, approve=approve)
        assert not await decide_approval(Settings(), asking.ledger, await found(asking, question), approve=approve)


async def test_a_yes_is_taken_back_without_asking_the_payment(asking: Book) -> None:
    question = await asked(asking)
    await decide(asking, question, approve=True)
    assert await decide_approval(Settings(), asking.ledger, await found(asking, question), approve=False)
    assert (await approval(asking, question.approval_id)).status == "DENIED"
    assert "it was denied at" in await refusal(asking, await found(asking, question), approve=True)


async def test_a_yes_that_was_used_cannot_be_taken_back_even_by_who_has_not_seen_it_used(asking: Book) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    await decide(asking, question, approve=True)
    seen = await found(asking, question)
    await paid(asking, key=key)
    for row in (seen, await found(asking, question)):
        assert "is signed already" in await refusal(asking, row, approve=False)


async def test_a_question_that_expired_is_told_with_what_to_do(asking: Book, database_url: str) -> None:
    question = await asked(asking)
    as_owner_of_the_database(database_url, "approvals", "expires_at = now() - interval '1 second'")
    said = await refusal(asking, await found(asking, question), approve=True)
    assert "the approval expired at" in said
    assert "request it again: autopay request" in said


async def test_a_request_that_has_ended_can_be_answered_no_more(asking: Book) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    await asking.end(key, RequestStatus.REFUSED)
    assert "has ended: refused" in await refusal(asking, await found(asking, question), approve=True)
