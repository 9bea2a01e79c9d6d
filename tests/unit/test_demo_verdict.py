"""When the demo says that all is well."""

import pytest

from autopay.cli.demo.summary import DemoSummary
from autopay.domain.audit.report import AuditReport
from autopay.domain.money import Currency


def verdict(
    *, ledger: int = 5, chain: int = 5, delivered: int = 2, verified: int = 2, findings: int = 0
) -> DemoSummary:
    audit = AuditReport(
        ok=findings == 0,
        agent="demo",
        chains=1,
        events=10,
        rows=4,
        anchors=0,
        payments_on_chain=2,
        anchors_on_chain=0,
        anchored=None,
        findings=(),
        found=findings,
        excludes_not=(),
    )
    spent_ledger, spent_chain = {Currency.USDC: ledger}, {Currency.USDC: chain}
    return DemoSummary(2, delivered, verified, spent_ledger, spent_chain, audit)


def test_all_is_well_when_everything_agrees() -> None:
    assert verdict().ok
    assert verdict().as_json()["spent_chain"] == {"USDC": "0.000005"}


@pytest.mark.parametrize("changed", [{"chain": 6}, {"ledger": 4}, {"delivered": 1}, {"verified": 1}, {"findings": 1}])
def test_nothing_is_well_when_one_of_them_does_not(changed: dict[str, int]) -> None:
    assert not verdict(**changed).ok
