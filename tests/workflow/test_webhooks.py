"""The workflow that keeps sending: begins the activity again and itself anew, and ends with its endpoint."""

import asyncio
from collections import Counter

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowContinuedAsNewError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.webhooks import WebhookStep
from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Vault
from autopay.adapters.webhooks.sender import SECRET_PURPOSE, WebhookSender, new_secret, webhook_reach
from autopay.domain.webhooks.records import WebhookOrder, WebhookRound
from autopay.temporal.converter import data_converter
from autopay.temporal.webhooks import start_webhooks, webhook_workflow_id
from autopay.uuid7 import uuid7
from tests.ledger.books import open_book
from tests.ledger.receiver import receiving
from tests.workflow.conftest import KEYRING
from workflows.policies import WAITS
from workflows.webhooks import WebhookEndpoint

CONTINUED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


async def test_one_that_is_enabled_while_its_workflow_ends_is_looked_at_again(env: WorkflowEnvironment) -> None:
    endpoint_id, asked, is_enabled = uuid7(), 0, asyncio.Event()

    @activity.defn(name="deliver_webhooks")
    async def deliver(_: WebhookOrder) -> WebhookRound:
        nonlocal asked
        asked += 1
        if asked == 1:
            await is_enabled.wait()  # it has found the endpoint disabled, and a person enables it now
        return WebhookRound(ended=True)

    queue = f"enabled-{endpoint_id}"
    workflows = Worker(
        env.client, task_queue=queue, workflows=[WebhookEndpoint], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with workflows, Worker(env.client, task_queue=queue + WAITS, activities=[deliver]):
        await env.client.start_workflow(
            "WebhookEndpoint",
            WebhookOrder(endpoint_id=endpoint_id),
            id=webhook_workflow_id(endpoint_id),
            task_queue=queue,
        )
        await start_webhooks(env.client, queue, [endpoint_id])
        is_enabled.set()
        await env.client.get_workflow_handle(webhook_workflow_id(endpoint_id)).result()
    assert asked == 2


async def test_it_sends_for_as_long_as_its_endpoint_is_there_in_short_histories(
    env: WorkflowEnvironment, ledger: PostgresLedger
) -> None:
    book, vault, endpoint_id = await open_book(ledger), Vault(KEYRING), uuid7()
    sealed = vault.seal(new_secret().encode(), purpose=SECRET_PURPOSE, row=str(endpoint_id))
    sender = WebhookSender(webhook_reach(()))
    step = WebhookStep(ledger.webhooks, ledger.events.listening, vault, sender, round_s=0.2, poll_s=0.05)
    async with (
        receiving() as receiver,
        Worker(
            env.client, task_queue="hooks", workflows=[WebhookEndpoint], workflow_runner=UnsandboxedWorkflowRunner()
        ),
        Worker(env.client, task_queue=f"hooks{WAITS}", activities=[step.deliver_webhooks]),
    ):
        await ledger.webhooks.add(endpoint_id, receiver.url, ["request.*"], sealed)
        for _ in range(2):
            await start_webhooks(env.client, "hooks", [endpoint_id], rounds=2)  # as each worker does when it starts
        handle = env.client.get_workflow_handle(webhook_workflow_id(endpoint_id))
        first = (await handle.describe()).run_id
        receiver.answers.append(500)  # its first attempt fails, and the second comes from another run
        for number in range(3):
            await book.accepted(f"r{number}")
        await receiver.until(lambda received: len({each.webhook_id for each in received if each.status == 204}) == 3)
        async with asyncio.timeout(60):
            with pytest.raises(WorkflowContinuedAsNewError):
                await env.client.get_workflow_handle(handle.id, run_id=first).result(follow_runs=False)
        await ledger.webhooks.remove(endpoint_id)
        await handle.result()
        assert len(receiver.received) == 4
        history = await env.client.get_workflow_handle(webhook_workflow_id(endpoint_id), run_id=first).fetch_history()
    kinds = Counter(event.event_type for event in history.events)
    assert kinds[CONTINUED] == 1
    assert len(history.events) < 30
    replayer = Replayer(
        workflows=[WebhookEndpoint],
        data_converter=data_converter(KEYRING),
        workflow_runner=SandboxedWorkflowRunner(),
    )
    await replayer.replay_workflow(history)
    await sender.close()
