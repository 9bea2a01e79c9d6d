"""Commands that change something say in the audit chain who ran them, and what became of it."""

import getpass
import json
import socket
from pathlib import Path

import pytest

from autopay.cli.terminal.exit_codes import ExitCode
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Awaiting, Policy
from tests.ledger.books import Book
from tests.ledger.operator import Operator
from tests.ledger.proofs import payloads

PAYEE = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"


def told(url: str) -> list[dict[str, object]]:
    """The orders that the chain has, oldest first, each as it was given."""
    return [each["values"] for each in payloads(url) if each["kind"] == "operator_actions.created"]


def outcomes(url: str) -> list[str]:
    """What became of them."""
    return [each["values"]["outcome"] for each in payloads(url) if each["kind"] == "operator_actions.changed"]


async def one_question(book: Book) -> None:
    await book.ledger.agents.set_phase("buyer", Phase.INTERACTIVE)
    await book.ledger.policies.set(Policy(price_factor=None), "buyer")
    assert isinstance(await book.reserve(await book.accepted("dear")), Awaiting)


def test_who_orders_what_by_commands_is_in_the_proof(
    operator: Operator, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    operator.do(one_question)
    file = tmp_path / "policy.toml"
    file.write_text('[limits]\nper_request = "1"\n')
    operator("policy", "set", str(file), "--agent", "buyer")
    operator("policy", "accept", "https://market.test", PAYEE)
    [asked] = json.loads(operator("approvals", "--json")[0])
    operator("deny", str(asked["approval_id"]), code=ExitCode.UNREACHABLE)
    operator("pause", "buyer", "--reason", "lunch", code=ExitCode.UNREACHABLE)
    orders = told(database_url)
    assert {(each["actor"], each["via"]) for each in orders} == {
        (f"{getpass.getuser()}@{socket.gethostname()}", "command")
    }
    assert [(each["action"], each["target"]) for each in orders] == [
        ("policy set", None),
        ("policy accept", "https://market.test:443/"),
        ("deny", asked["approval_id"]),
        ("pause", None),
    ]
    assert orders[3]["details"] == {"reason": "lunch"}
    assert outcomes(database_url) == ["done", "done", "failed", "failed"]
    assert "broken" not in operator("ledger", "verify")[0]
