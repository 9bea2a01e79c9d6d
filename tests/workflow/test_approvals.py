"""An INTERACTIVE agent's payment waits for a person, on the time-skipping server: every word that may come, or none."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.terminal.exit_codes import ExitCode, code_of
from autopay.client.errors import AutopayError
from autopay.client.requests.decisions import send_decision
from autopay.domain.agent.spec import AgentSpec, Rules
from autopay.domain.agent.status import AgentStatus
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import RequestResult, RequestSpec, RequestStatus
from autopay.temporal.outcome import outcome_of
from tests.ledger.terms import as_owner_of_the_database
from tests.workflow.conftest import SHUTDOWN_S, URL, World
from tests.workflow.world import PRICE, SELLER, PlayedChain, agent_with_session
from workflows.agent import Agent
from workflows.paid_request import PaidRequest

PATIENCE_S = 30
ACCEPTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED

Payment = WorkflowHandle[PaidRequest, RequestResult]


class Office(World):
    """The played world with an INTERACTIVE agent, and a worker that can be replaced."""

    workers: list[Worker]
    working: list["asyncio.Task[None]"]

    async def open(self, **options: int) -> None:
        """Start the workers; `options` are the SDK's."""
        self.workers = [self.worker(**options), self.waits_worker()]
        self.working = [asyncio.create_task(worker.run()) for worker in self.workers]

    async def close(self) -> None:
        """Stop them; a failed test's activities must not hold up the run."""
        shutdown = asyncio.gather(*(worker.shutdown() for worker in self.workers))
        await asyncio.wait({shutdown}, timeout=SHUTDOWN_S)
        for task in self.working:
            task.cancel()
        await asyncio.wait(self.working, timeout=SHUTDOWN_S)
        assert shutdown.done(), f"the workers did not stop within {SHUTDOWN_S} s"

    async def question(self, *known: ApprovalRecord) -> ApprovalRecord:
        """What a person is asked, besides what is known; while real time passes and virtual time does not."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            rows = await self.ledger.policies.approvals("tester")
            for row in rows:
                if row.approval_id not in {each.approval_id for each in known}:
                    return row
            await asyncio.sleep(0.05)
        raise AssertionError("nobody is asked")

    async def both_held(self, agent: WorkflowHandle[Agent, AgentStatus]) -> AgentStatus:
        """The agent's status, once it has heard that two requests are held."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            status = await agent.query(Agent.status)
            if len(status.held) == 2:
                return status
            await asyncio.sleep(0.05)
        raise AssertionError("the agent does not hear of its held requests")

    async def tell(self, handle: Payment, word: str, terms_hash: str) -> None:
        """Send a person's word, as soon as the payment listens: this server holds up what comes earlier."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            await asyncio.sleep(0.05)
            if await count(handle, EventType.EVENT_TYPE_TIMER_STARTED) == 0 and time.monotonic() < deadline:
                continue
            try:
                await handle.execute_update(word, terms_hash)
            except WorkflowUpdateFailedError as error:
                early = isinstance(error.cause, ApplicationError) and error.cause.type == "not_awaiting"
                if not early or time.monotonic() > deadline:
                    raise
            else:
                return


@pytest.fixture
async def office(env: WorkflowEnvironment, ledger: PostgresLedger) -> AsyncIterator[Office]:
    """The office, open; every history is replayed at the end."""
    chain = PlayedChain(env.get_current_time, await env.get_current_time())
    opened = Office(env, ledger, chain)
    await agent_with_session(ledger, opened.vault, chain)
    await ledger.agents.set_phase("tester", Phase.INTERACTIVE)
    await opened.open()
    yield opened
    await opened.close()
    assert await opened.replay_everything() > 0


def error_of(result: RequestResult) -> str | None:
    return result.error.type if result.error is not None else None


async def count(handle: Payment, kind: "EventType.ValueType") -> int:
    return sum(each.event_type == kind for each in (await handle.fetch_history()).events)


async def test_a_payment_waits_for_a_yes_and_is_made(office: Office) -> None:
    handle = await office.pay()
    question = await office.question()
    assert (question.terms.amount_atomic, question.terms.pay_to) == (PRICE, str(SELLER.pubkey()))
    assert question.terms.url == URL
    assert office.seller.paid == []
    await office.tell(handle, "approve", question.terms_hash)
    result = await outcome_of(handle)
    assert (result.status, result.price_atomic) == (RequestStatus.DELIVERED, 1_000)
    assert office.chain.spent == PRICE
    (row,) = await office.ledger.policies.approvals("tester", undecided=False)
    assert row.status == "CONSUMED"


async def test_a_no_ends_the_request_and_nothing_is_paid(office: Office) -> None:
    handle = await office.pay()
    await office.tell(handle, "deny", (await office.question()).terms_hash)
    result = await outcome_of(handle)
    assert (result.status, error_of(result)) == (RequestStatus.REFUSED, "approval_denied")
    assert (office.chain.spent, office.seller.paid, result.attempts) == (0, [], 0)


async def test_a_word_on_other_terms_is_refused_and_leaves_no_event(office: Office) -> None:
    handle = await office.pay()
    question = await office.question()
    for word in ("approve", "deny"):
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await office.tell(handle, word, "0" * 64)
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "terms_differ"
    assert await count(handle, ACCEPTED) == 0
    assert [row.status for row in await office.ledger.policies.approvals("tester")] == ["PENDING"]
    await office.tell(handle, "approve", question.terms_hash)
    assert (await outcome_of(handle)).status == RequestStatus.DELIVERED
    assert await count(handle, ACCEPTED) == 1


async def test_a_question_that_nobody_answers_in_time_ends_the_request(office: Office, database_url: str) -> None:
    handle = await office.pay()
    await office.question()
    # The ledger's clock is real and decides; the workflow's timer is virtual, and only makes it look again.
    as_owner_of_the_database(database_url, "approvals", "expires_at = now() - interval '1 second'")
    result = await outcome_of(handle)
    assert (result.status, error_of(result)) == (RequestStatus.REFUSED, "approval_expired")
    assert office.chain.spent == 0


async def test_a_cancel_ends_the_wait_and_nothing_is_paid(office: Office) -> None:
    handle = await office.pay()
    await office.question()
    await handle.cancel()
    result = await outcome_of(handle)
    assert (result.status, error_of(result)) == (RequestStatus.REFUSED, "canceled")
    assert office.seller.paid == []
    assert await office.ledger.policies.approvals("tester") == []


async def test_a_price_that_changes_while_a_person_thinks_is_asked_about_anew(office: Office) -> None:
    await office.ledger.policies.set(Policy(price_factor=None), "tester")
    handle = await office.pay()
    first = await office.question()
    office.seller.price = PRICE // 2
    await office.tell(handle, "approve", first.terms_hash)
    second = await office.question(first)
    assert second.terms.amount_atomic == PRICE // 2
    assert office.seller.paid == []
    await office.tell(handle, "deny", second.terms_hash)
    assert error_of(await outcome_of(handle)) == "approval_denied"


async def test_another_worker_goes_on_waiting_and_hears_the_yes(office: Office) -> None:
    await office.close()
    await office.open(max_cached_workflows=0)  # else the server offers the run to the worker that is gone, for ever
    handle = await office.pay()
    question = await office.question()
    await office.close()
    await office.open()
    await office.tell(handle, "approve", question.terms_hash)
    assert (await outcome_of(handle)).status == RequestStatus.DELIVERED
    assert [row.status for row in await office.ledger.policies.approvals("tester", undecided=False)] == ["CONSUMED"]


async def test_a_run_after_a_termination_finds_the_question_and_the_answer(office: Office) -> None:
    handle = await office.pay()
    question = await office.question()
    await handle.terminate("a careless operator")
    again = await office.start("r1")
    await office.tell(again, "approve", question.terms_hash)
    assert (await outcome_of(again)).status == RequestStatus.DELIVERED
    assert len(await office.ledger.policies.approvals("tester", undecided=False)) == 1
    assert office.chain.spent == PRICE


async def test_the_command_says_why_a_word_does_not_reach_a_payment(office: Office) -> None:
    handle = await office.pay()
    question = await office.question()
    other = question.model_copy(update={"terms_hash": "0" * 64})
    with pytest.raises(AutopayError, match="the seller has changed its terms"):
        await send_decision(office.client, office.ledger, other, "approve")
    await handle.terminate("a careless operator")
    with pytest.raises(AutopayError, match="has ended and is started again within a minute") as caught:
        await send_decision(office.client, office.ledger, question, "approve")
    assert code_of(caught.value) is ExitCode.UNFINISHED
    again = await office.start("r1")
    await send_decision(office.client, office.ledger, question, "deny")
    assert error_of(await outcome_of(again)) == "approval_denied"
    with pytest.raises(AutopayError, match="it was denied at"):
        await send_decision(office.client, office.ledger, question, "approve")


async def both_asked(
    office: Office, max_in_flight: int = 2
) -> tuple[WorkflowHandle[Agent, AgentStatus], list[ApprovalRecord]]:
    """An agent in phase INTERACTIVE with two requests that wait for a person, and what it asks about them."""
    rules = Rules(thresholds={Currency.USDC: PRICE}, balance_every_s=600, max_in_flight=max_in_flight)
    spec = AgentSpec(name="tester", phase=Phase.INTERACTIVE, rules=rules)
    agent = await office.client.start_workflow(Agent.run, spec, id="agent/tester", task_queue="autopay")
    questions: list[ApprovalRecord] = []
    for name in ("one", "two"):
        await agent.execute_update(Agent.request, RequestSpec(request_id=name, url=URL))
        questions.append(await office.question(*questions))
        office.started.add(f"pay/tester/{name}")
    await office.both_held(agent)
    return agent, questions


async def test_a_held_request_frees_its_slot_and_its_agent_says_what_it_waits_for(office: Office) -> None:
    agent, questions = await both_asked(office, max_in_flight=1)
    status = await agent.query(Agent.status)
    assert {(held.request_id, held.why) for held in status.held} == {("one", "approval"), ("two", "approval")}
    assert "0.001 USDC is asked" in (status.held[0].message or "")
    assert status.in_flight == ()
    for question, word in zip(questions, ("approve", "deny"), strict=True):
        payment = office.client.get_workflow_handle(f"pay/tester/{question.terms.request_id}")
        await office.tell(payment, word, question.terms_hash)
    await agent.signal(Agent.stop)
    ended = await agent.result()
    assert (ended.delivered, ended.refused, ended.held) == (1, 1, ())
    assert ended.spent_atomic == {Currency.USDC: PRICE}


async def test_phase_full_withdraws_the_questions_and_the_payments_go_on(office: Office) -> None:
    agent, _ = await both_asked(office)
    assert await agent.execute_update(Agent.phase, Phase.FULL) == ["one", "two"]
    assert (await agent.query(Agent.status)).held == ()
    assert await office.ledger.policies.approvals("tester") == []
    for name in ("one", "two"):
        result = await outcome_of(office.client.get_workflow_handle(f"pay/tester/{name}", result_type=RequestResult))
        assert result.status == RequestStatus.DELIVERED
    rows = await office.ledger.policies.approvals("tester", undecided=False)
    assert [(row.status, row.is_withdrawn) for row in rows] == [("EXPIRED", True)] * 2
    await agent.signal(Agent.stop)
    ended = await agent.result()
    assert (ended.delivered, ended.phase) == (2, Phase.FULL)


async def test_a_stopped_agent_leaves_no_question_that_could_still_be_approved(office: Office) -> None:
    agent, (question, _) = await both_asked(office)
    await agent.signal(Agent.stop)
    ended = await agent.result()
    assert (ended.held, ended.in_flight, ended.refused) == ((), (), 2)
    assert await office.ledger.policies.approvals("tester") == []
    assert [each.asked for each in await office.ledger.agents.summaries()] == [0]
    assert office.seller.paid == []
    with pytest.raises(AutopayError, match="has ended: refused"):
        await send_decision(office.client, office.ledger, question, "approve")
