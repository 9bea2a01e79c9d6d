"""The demo's result: what was bought, the money counted in the ledger and on the chain, and `ledger verify`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autopay.adapters.solana.chain import SolanaChain
from autopay.cli.connect.connections import node_rpc
from autopay.cli.demo.context import DemoContext
from autopay.cli.ledger.verify_steps import audit_ledger
from autopay.cli.terminal.console import print_line
from autopay.cli.terminal.tables import print_table
from autopay.domain.audit.report import AuditReport
from autopay.domain.money import Currency, show, units_text
from autopay.domain.progress import ignore_progress

MOST_ROWS = 1_000


@dataclass(frozen=True)
class DemoSummary:
    """The demo's sums; `spent_*` in base units. `audit` is the result of `ledger verify` for this agent.

    `purchases` are how many payments of which amount went to which endpoint.
    """

    requests: int
    delivered: int
    verified: int
    spent_ledger: dict[Currency, int]
    spent_chain: dict[Currency, int]
    audit: AuditReport
    purchases: Sequence[tuple[int, str, str]] = ()
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


async def summarize(demo: DemoContext, chapters: dict[str, dict[str, Any]]) -> DemoSummary:
    """Count everything, once all payments are final."""
    rows = await demo.ledger.reports.timeline(demo.agent.name, limit=MOST_ROWS)
    audit = await audit_ledger(demo.settings, demo.agent.name, on_chain=True, on_progress=ignore_progress)
    bought = Counter((row.endpoint or "?", show(row.amount_atomic, row.currency)) for row in rows)
    return DemoSummary(
        requests=len({row.request_key for row in rows}),
        delivered=len({row.request_key for row in rows if row.delivery == "DELIVERED"}),
        verified=sum(row.status == "VERIFIED" for row in rows),
        spent_ledger=await demo.ledger.reports.spent(demo.agent.name),
        spent_chain=await _missing_on_chain(demo),
        audit=audit,
        purchases=[(times, price, endpoint) for (endpoint, price), times in sorted(bought.items())],
        chapters=chapters,
    )


def print_summary(summary: DemoSummary) -> None:
    """Print what was bought, and both counts of the money."""
    print_table(("payments", "each", "for"), summary.purchases, title="\nWhat was bought")
    counts = (summary.spent_ledger, summary.spent_chain)
    money = [(each.value, *(units_text(count.get(each, 0)) for count in counts)) for each in Currency]
    print_table(
        ("currency", "spent, says the ledger", "spent, says the chain"), money, title="\nThe money, counted twice"
    )
    print_line("The two counts agree." if summary.agrees else "THE COUNTS DIFFER.")
    finals = f"{summary.requests} requests paid, {summary.delivered} delivered, {summary.verified} payments final"
    print_line(f"{finals}.")
    audit = summary.audit
    result = "the ledger proves itself" if audit.ok else f"{audit.found} THINGS DO NOT FIT"
    print_line(f"ledger verify: {result}:")
    print_line(
        f"  {audit.events} chained events, {audit.rows} rows, {audit.payments_on_chain} payments found on chain."
    )


async def _missing_on_chain(demo: DemoContext) -> dict[Currency, int]:
    """What each session's account was granted, minus what it holds at finalized."""
    spent: dict[Currency, int] = {}
    async with node_rpc(demo.settings) as rpc:
        chain = SolanaChain(rpc)
        for session in await demo.ledger.sessions.list(demo.agent.name):
            account = await chain.token_account(session.source_account, final=True)
            held = account.amount_atomic if account else 0
            if missing := session.allowance_atomic - held:
                spent[session.currency] = spent.get(session.currency, 0) + missing
    return spent


def _in_units(spent: dict[Currency, int]) -> dict[str, str]:
    return {currency.value: units_text(amount) for currency, amount in sorted(spent.items())}
