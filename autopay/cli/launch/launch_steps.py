"""Launches agents: each one's row in the ledger, a session in each currency, its workflow.

One command at a time does this for an agent (`Grants.turn`): of two that launch it at once, the second finds it
running. Many are launched a few at a time, and one that fails does not stop the others.
"""

import asyncio
from collections.abc import Callable, Sequence

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.owner.grant import GrantedSession, GrantTerms, grant_session
from autopay.adapters.vault import Vault
from autopay.cli.launch.launch_order import AlreadyRunning, LaunchOrder, LaunchOutcome
from autopay.cli.session.owner import owner_key
from autopay.cli.terminal.exit_codes import CommandError
from autopay.client.agents.grant_hint import grant_command
from autopay.client.agents.handle import AgentHandle
from autopay.client.errors import AutopayError, temporal_error
from autopay.delegation.connections import mint_of, owner_node
from autopay.delegation.drafts import known_wallet
from autopay.domain.agent.spec import AgentSpec
from autopay.domain.agent.state.durable_state import DurableState
from autopay.domain.agent.status import AgentState
from autopay.domain.agent.steps import Withdrawn
from autopay.domain.errors import Fault, SettingsError, UnknownAgent
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import agent_workflow_id, payment_workflow_id
from autopay.settings import Settings
from autopay.temporal.attributes import agent_attributes

AT_ONCE = 8
"""Each waits for its owner's transaction to be confirmed; more at once only wait for each other."""


async def launch_agent(
    settings: Settings, ledger: PostgresLedger, client: Client, vault: Vault, order: LaunchOrder
) -> list[GrantedSession]:
    """Create or find the agent, grant its sessions, start its workflow.

    Raises:
        AlreadyRunning: it was launched before.
        CommandError: there is no owner's key to grant sessions with.
    """
    if order.phase is Phase.DEMO and settings.network is Network.MAINNET:
        raise CommandError("an agent in phase demo never runs on mainnet: use --phase interactive or full")
    async with ledger.sessions.lock_agent(order.name):
        if await AgentHandle(client, order.name, settings.task_queue).is_running():
            raise AlreadyRunning(order.name)
        granted = await grant_all(settings, ledger, vault, order) if order.grants else []
        if not order.grants:
            await _require_sessions(ledger, order)
        await _withdraw(client, order.name, await ledger.agents.set_phase(order.name, order.phase))
        await start_agent(client, settings.task_queue, order.spec(settings.network))
    return granted


async def grant_all(
    settings: Settings, ledger: PostgresLedger, vault: Vault, order: LaunchOrder
) -> list[GrantedSession]:
    """A fresh session in each currency of the order; the caller has the agent's turn (`Grants.turn`)."""
    terms = [
        GrantTerms(
            currency=currency,
            mint=mint_of(settings, currency),
            allowance_atomic=order.allowance_atomic,
            tx_limit=order.tx_limit,
            duration_s=order.duration_s,
        )
        for currency in order.currencies
    ]
    async with owner_node(settings) as node:
        await node.chain.check_network()
        owner = await owner_key(settings, order.owner_keypair, terms)
        await known_wallet(ledger, order.name, str(owner.pubkey()), order.phase)
        return [
            await grant_session(node, ledger.sessions, vault, agent=order.name, owner=owner, terms=each)
            for each in terms
        ]


def check_orders(settings: Settings, orders: Sequence[LaunchOrder]) -> None:
    """Check all orders against the settings, before the first agent is granted money.

    Raises:
        CommandError, SettingsError: one cannot be carried out; the message names the agent.
    """
    for order in orders:
        if order.phase is Phase.DEMO and settings.network is Network.MAINNET:
            raise CommandError(f"agent {order.name}: phase demo never runs on mainnet")
        if order.grants and order.owner_keypair is None and not settings.on_localnet:
            raise CommandError("--owner-keypair FILE is needed on this network: the owner signs what agents may spend")
        for currency in order.currencies:
            try:
                mint_of(settings, currency)
            except SettingsError as error:
                raise SettingsError(f"agent {order.name}: {error}") from None


async def launch_all(
    settings: Settings,
    ledger: PostgresLedger,
    client: Client,
    vault: Vault,
    orders: Sequence[LaunchOrder],
    on_outcome: Callable[[LaunchOutcome], None],
) -> list[LaunchOutcome]:
    """Launch each, a few at a time; calls `on_outcome` as each ends. One that runs already is left alone."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def launch_one(order: LaunchOrder) -> LaunchOutcome:
        async with slots:
            outcome = await _outcome_of(settings, ledger, client, vault, order)
        on_outcome(outcome)
        return outcome

    return list(await asyncio.gather(*(launch_one(order) for order in orders)))


async def _outcome_of(
    settings: Settings, ledger: PostgresLedger, client: Client, vault: Vault, order: LaunchOrder
) -> LaunchOutcome:
    try:
        await launch_agent(settings, ledger, client, vault, order)
    except AlreadyRunning:
        return LaunchOutcome(order.name, "running")
    except (CommandError, AutopayError, Fault) as error:
        return LaunchOutcome(order.name, "failed", str(error))
    except RPCError as error:
        return LaunchOutcome(order.name, "failed", str(temporal_error(error)))
    return LaunchOutcome(order.name, "launched")


async def _require_sessions(ledger: PostgresLedger, order: LaunchOrder) -> None:
    for currency in order.currencies:
        try:
            session = await ledger.sessions.current(order.name, currency)
        except UnknownAgent:
            session = Refused(reason=RefusalReason.SESSION_MISSING, message=f"there is no agent {order.name!r} yet")
        if isinstance(session, Refused):
            grant = grant_command(order.name, order.phase, currency, order.rules.needed(currency), None)
            raise CommandError(f"{session.message}; launch it without --no-grant, or grant it a session first: {grant}")


async def _withdraw(client: Client, name: str, questions: Sequence[Withdrawn]) -> None:
    """Tell payments that a run before left waiting for a person that they need none any more."""
    for question in questions:
        handle = client.get_workflow_handle(payment_workflow_id(name, question.request_id))
        try:
            await handle.signal("withdraw", str(question.approval_id))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it is adopted, and starts over
                raise temporal_error(error) from None


async def start_agent(client: Client, task_queue: str, spec: AgentSpec, pause: str | None = None) -> None:
    """Start its workflow, which finds the rest in the ledger; with `pause` it is paused from the start.

    Raises:
        AlreadyRunning: it runs.
    """
    try:
        await client.start_workflow(
            "Agent",
            args=[spec] if pause is None else [spec, DurableState(spec=spec, pause=pause)],
            id=agent_workflow_id(spec.name),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=agent_attributes(spec.name, AgentState.RUNNING.value),
            static_summary=f"agent {spec.name}, phase {spec.phase.value}",
        )
    except WorkflowAlreadyStartedError:
        raise AlreadyRunning(spec.name) from None
