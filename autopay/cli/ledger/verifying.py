"""What `ledger verify` does: the ledger's proof against itself, then against the chain, and the report of both.

What must not live here: options, and how it is shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from autopay.adapters.postgres import open_ledger
from autopay.adapters.solana.anchoring import AnchorChain
from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.ledger.anchor import anchor_wallet
from autopay.domain.audit.anchor import Anchor, heads_in
from autopay.domain.audit.events import Head
from autopay.domain.audit.on_chain import ChainCheck
from autopay.domain.audit.report import Anchored, AuditReport, Finding, excludes_not
from autopay.domain.audit.run import OWNED, TABLES, AuditRun, Tell
from autopay.settings import Settings


async def verified(settings: Settings, agent: str | None, *, on_chain: bool, tell: Tell) -> AuditReport:
    """Check everything, or one agent's part; anchors on chain where a node is set, payments when `on_chain`."""
    agent_id: UUID | None = None
    if agent is not None:
        async with ledger_of(settings) as known:
            agent_id = (await known_agent(known, agent)).agent_id
    ledger = open_ledger(settings.database_url)
    chain = AnchorChain(settings.solana_rpc_url, settings.network) if settings.solana_rpc_url else None
    try:
        async with ledger.audit.snapshot(agent_id) as snapshot:
            run = AuditRun(snapshot, tell, tables=TABLES if agent_id is None else OWNED)
            await run.run(agent_id)
            names = await snapshot.names()
        check = None
        if chain is not None:
            check = ChainCheck(ledger.audit, chain, settings.network, run.findings, tell)
            await check.check_anchors(anchor_wallet(settings))
            if on_chain:
                await check.check_payments(agent_id)
        return _report(run, check, names, agent, on_chain=on_chain)
    finally:
        if chain is not None:
            await chain.close()
        await ledger.dispose()


def _report(
    run: AuditRun, check: ChainCheck | None, names: Mapping[UUID, str], agent: str | None, *, on_chain: bool
) -> AuditReport:
    newest = run.newest if check is None else check.newest
    anchored = _anchored(newest, run.heads) if newest is not None else None
    return AuditReport(
        ok=run.findings.count == 0,
        agent=agent,
        chains=run.chains,
        events=run.events,
        rows=run.rows,
        anchors=run.anchors,
        anchors_on_chain=check.anchors if check is not None else None,
        payments_on_chain=check.payments if check is not None and on_chain else None,
        anchored=anchored,
        findings=tuple(_named(run.findings.kept, names)),
        found=run.findings.count,
        excludes_not=excludes_not(
            anchored,
            asked_anchors=check is not None,
            asked_payments=on_chain,
            beyond=check.beyond if check is not None else 0,
            one_agent=agent is not None,
        ),
    )


def _anchored(anchor: Anchor, heads: Sequence[Head]) -> Anchored:
    then = {head.agent_id: head.seq for head in heads_in(anchor.heads)}
    assert anchor.slot is not None, "only an anchor that is final is the newest one"
    return Anchored(
        created_at=anchor.created_at,
        network=anchor.network,
        slot=anchor.slot,
        payer=anchor.payer,
        signature=anchor.signature,
        events_since=sum(max(head.seq - then.get(head.agent_id, 0), 0) for head in heads),
    )


def _named(findings: Iterable[Finding], names: Mapping[UUID, str]) -> Iterable[Finding]:
    for each in findings:
        yield each.model_copy(update={"agent": names.get(each.agent_id) if each.agent_id is not None else None})
