"""The end of the demo: what was bought, the money counted twice, and whether the ledger proves itself."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from autopay.adapters.solana.chain import SolanaChain
from autopay.cli.connect.console import print_line, print_table
from autopay.cli.demo.context import DemoContext
from autopay.cli.ledger.verifying import audit_ledger
from autopay.domain.audit.report import AuditReport
from autopay.domain.money import Currency, show, units_text
from autopay.domain.progress import ignore_progress

MOST_ROWS = 1_000


@dataclass(frozen=True)
class DemoSummary:
    """The demo's sums; `spent_*` in base units. `audit` is what `ledger verify` says of this agent's part."""

    requests: int
    delivered: int
    verified: int
    spent_ledger: dict[Currency, int]
    spent_chain: dict[Currency, int]
    audit: AuditReport
    chapters: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Both counts of the money are the same."""
        return self.spent_ledger == self.spent_chain

    @property
    def ok(self) -> bool:
        """Everything was delivered and is final, both counts agree, and the ledger proves itself."""
        return self.requests > 0 and self.delivered == self.verified == self.requests and self.agrees and self.audit.ok

    def as_json(self) -> dict[str, Any]:
        """The line that programs read; money in token units."""
        return {
            "requests": self.requests,
            "delivered": self.delivered,
            "verified": self.verified,
            "spent_ledger": _in_units(self.spent_ledger),
            "spent_chain": _in_units(self.spent_chain),
            "ledger_verify": {"ok": self.audit.ok, "events": self.audit.events, "found": self.audit.found},
            "chapters": self.chapters,
            "ok": self.ok,
        }


async def summarize(stage: DemoContext, chapters: dict[str, dict[str, Any]]) -> DemoSummary:
    """Read it all once more, now that everything is final."""
    rows = await stage.ledger.reports.timeline(stage.agent.name, limit=MOST_ROWS)
    audit = await audit_ledger(stage.settings, stage.agent.name, on_chain=True, on_progress=ignore_progress)
    bought = Counter((row.endpoint or "?", show(row.amount_atomic, row.currency)) for row in rows)
    verdict = DemoSummary(
        requests=len({row.request_key for row in rows}),
        delivered=len({row.request_key for row in rows if row.delivery == "DELIVERED"}),
        verified=sum(row.status == "VERIFIED" for row in rows),
        spent_ledger=await stage.ledger.reports.spent(stage.agent.name),
        spent_chain=await _missing_on_chain(stage),
        audit=audit,
        chapters=chapters,
    )
    purchases = [(times, price, endpoint) for (endpoint, price), times in sorted(bought.items())]
    print_table(("payments", "each", "for"), purchases, title="\nWhat was bought")
    return verdict


def print_summary(verdict: DemoSummary) -> None:
    """The last lines."""
    counts = (verdict.spent_ledger, verdict.spent_chain)
    money = [(each.value, *(units_text(count.get(each, 0)) for count in counts)) for each in Currency]
    print_table(
        ("currency", "spent, says the ledger", "spent, says the chain"), money, title="\nThe money, counted twice"
    )
    print_line("The two counts agree." if verdict.agrees else "THE COUNTS DIFFER.")
    finals = f"{verdict.requests} requests paid, {verdict.delivered} delivered, {verdict.verified} payments final"
    print_line(f"{finals}.")
    audit = verdict.audit
    said = "the ledger proves itself" if audit.ok else f"{audit.found} THINGS DO NOT FIT"
    print_line(f"ledger verify: {said}:")
    print_line(
        f"  {audit.events} chained events, {audit.rows} rows, {audit.payments_on_chain} payments found on chain."
    )


async def _missing_on_chain(stage: DemoContext) -> dict[Currency, int]:
    """What each session's account was funded with, less what it holds at finalized."""
    chain = SolanaChain(stage.settings.solana_rpc_url, stage.settings.network)
    spent: dict[Currency, int] = {}
    try:
        for session in await stage.ledger.sessions.list(stage.agent.name):
            account = await chain.token_account(session.source_account, final=True)
            held = account.amount_atomic if account else 0
            if missing := session.allowance_atomic - held:
                spent[session.currency] = spent.get(session.currency, 0) + missing
    finally:
        await chain.close()
    return spent


def _in_units(spent: dict[Currency, int]) -> dict[str, str]:
    return {currency.value: units_text(amount) for currency, amount in sorted(spent.items())}
