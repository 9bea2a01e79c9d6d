"""What `ledger verify` does: checks the ledger against itself, then against the chain, and reports both."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from autopay.adapters.postgres import open_ledger
from autopay.adapters.solana.anchoring import AnchorChain
from autopay.cli.connect.connections import known_agent, ledger_of, node_rpc
from autopay.cli.ledger.anchor import anchor_wallet
from autopay.domain.audit.ledger_check import AGENT_TABLES, TABLES, LedgerCheck
from autopay.domain.audit.report import AuditFinding, AuditReport, last_anchor, limits_of_check
from autopay.domain.audit.solana_check import SolanaCheck
from autopay.domain.progress import OnProgress
from autopay.settings import Settings


async def audit_ledger(
    settings: Settings, agent: str | None, *, on_chain: bool, on_progress: OnProgress
) -> AuditReport:
    """Check everything or one agent's part: anchors on chain where a node is set, payments there when `on_chain`."""
    agent_id: UUID | None = None
    if agent is not None:
        async with ledger_of(settings) as known:
            agent_id = (await known_agent(known, agent)).agent_id
    ledger = open_ledger(settings.database_url)
    rpc = node_rpc(settings) if settings.solana_rpc_url else None
    try:
        async with ledger.audit.snapshot(agent_id) as snapshot:
            run = LedgerCheck(snapshot, on_progress, tables=TABLES if agent_id is None else AGENT_TABLES)
            await run.run(agent_id)
            names = await snapshot.names()
        check = None
        if rpc is not None:
            check = SolanaCheck(ledger.audit, AnchorChain(rpc), settings.network, run.findings, on_progress)
            await check.check_anchors(anchor_wallet(settings))
            if on_chain:
                await check.check_payments(agent_id)
        return _report(run, check, names, agent, on_chain=on_chain)
    finally:
        if rpc is not None:
            await rpc.close()
        await ledger.dispose()


def _report(
    run: LedgerCheck, check: SolanaCheck | None, names: Mapping[UUID, str], agent: str | None, *, on_chain: bool
) -> AuditReport:
    newest = run.newest if check is None else check.newest
    anchored = last_anchor(newest, run.heads) if newest is not None else None
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
        findings=tuple(_with_agent_names(run.findings.kept, names)),
        found=run.findings.count,
        excludes_not=limits_of_check(
            anchored,
            asked_anchors=check is not None,
            asked_payments=on_chain,
            beyond=check.beyond if check is not None else 0,
            one_agent=agent is not None,
        ),
    )


def _with_agent_names(findings: Iterable[AuditFinding], names: Mapping[UUID, str]) -> Iterable[AuditFinding]:
    for each in findings:
        yield each.model_copy(update={"agent": names.get(each.agent_id) if each.agent_id is not None else None})
