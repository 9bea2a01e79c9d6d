"""The commands of `session` against a running stack, in this process but for those that race or are cut off."""

import asyncio
import json
import signal
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.delegation.connections import mint_of
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.settings import Settings
from localnet.stack import Stack
from localnet.tokens import ensure_sol, faucet
from tests.ledger.books import Book, offer_of, signed_payment
from tests.stack.shell import Shell
from tests.stack.up import STARTER, clean_environment, starter


@dataclass
class Owner(Shell):
    """Somebody who grants sessions on a running stack."""

    rpc_url: str
    usdc: str
    ledger: PostgresLedger

    async def sessions(self, agent: str) -> list[Any]:
        listed: list[Any] = await self.json("session", "list", agent)
        return listed


@pytest.fixture(scope="module")
async def addresses(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    home = tmp_path_factory.mktemp("stack") / "home"
    async with Stack(home, slot_ms=50, ephemeral=True):
        yield home


@pytest.fixture
async def shell(addresses: Path) -> AsyncIterator[Owner]:
    settings = Settings.load(home=addresses).resolve()
    ledger = open_ledger(settings.database_url)
    yield Owner(addresses, settings.solana_rpc_url, mint_of(settings, Currency.USDC), ledger)
    await ledger.dispose()


async def test_a_session_is_granted_listed_and_revoked(shell: Owner) -> None:
    granted = await shell.json("session", "grant", "one", "--allowance", "2", "--tx-limit", "7", "--host", "Api.test")
    assert (granted["state"], granted["allowance_atomic"], granted["tx_limit"]) == ("granted", 2_000_000, 7)
    (listed,) = await shell.sessions("one")
    assert (listed["state"], listed["hosts"]) == ("active", ["api.test"])
    assert listed["on_chain"] == {"balance_atomic": 2_000_000, "delegated_atomic": 2_000_000}
    out, err = await shell("session", "revoke", granted["session_id"])
    assert "revoked: 2 USDC and 0.002039 SOL of rent went back" in out
    assert "closes the account" in err
    assert "nothing of it is left" in (await shell("session", "revoke", granted["session_id"]))[0]
    (listed,) = await shell.sessions("one")
    assert (listed["state"], listed["on_chain"]) == ("revoked", None)


async def test_a_newer_grant_ends_the_older_and_says_where_its_money_is(shell: Owner) -> None:
    first = await shell.json("session", "grant", "two")
    _, err = await shell("session", "grant", "two")
    assert f"1 USDC is left in ended session {first['session_id']}: autopay session revoke" in err
    assert [each["state"] for each in await shell.sessions("two")] == ["active", "expired"]
    assert "is left in ended session" in (await shell("session", "list", "two"))[1]
    revoked = await shell.json("session", "revoke", "--agent", "two")
    assert [each["brought_back_atomic"] for each in revoked] == [1_000_000, 1_000_000]


async def test_another_wallet_signs_the_grant_and_the_revoke(shell: Owner, tmp_path: Path) -> None:
    wallet, grant, back = Keypair(), tmp_path / "grant.json", tmp_path / "revoke.json"
    await ensure_sol(shell.rpc_url, wallet.pubkey())
    await faucet(shell.rpc_url, wallet.pubkey(), Pubkey.from_string(shell.usdc), 1_000_000)
    waiting = await shell.json("session", "grant", "three", "--owner", str(wallet.pubkey()), "--export", str(grant))
    assert waiting["state"] == "waiting"
    assert "is not signed yet" in (await shell("session", "submit", str(grant), code=2))[1]
    assert "the chain does not show it yet" in (await shell("session", "submit", waiting["session_id"], code=7))[1]
    assert "grant it a session first" in (await shell("launch", "three", "--no-grant", code=2))[1]

    await shell("session", "export", waiting["session_id"], str(tmp_path / "newer.json"))
    assert "a newer one was exported" in (await shell("session", "submit", _signed(grant, wallet), code=2))[1]
    granted = await shell.json("session", "submit", _signed(tmp_path / "newer.json", wallet))
    assert granted["state"] == "granted"

    assert "its key destroyed" in (await shell("session", "revoke", waiting["session_id"], code=7))[1]
    await shell("session", "revoke", waiting["session_id"], "--export", str(back))
    signature = str(wallet.sign_message(b64decode(json.loads(back.read_text())["message"])))
    revoked = await shell.json("session", "submit", waiting["session_id"], "--signature", signature)
    assert (revoked["state"], revoked["brought_back_atomic"]) == ("revoked", 1_000_000)


async def test_a_revoke_waits_for_payments_that_are_open(shell: Owner) -> None:
    granted = await shell.json("session", "grant", "four")
    attempt = await _open_payment(shell, granted)
    _, err = await shell("session", "revoke", granted["session_id"], "--no-wait", code=7)
    assert "1 payment(s)" in err
    (listed,) = await shell.sessions("four")
    assert (listed["status"], listed["open_payments"]) == ("REVOKED", 1)
    assert listed["on_chain"]["balance_atomic"] == 1_000_000

    revoking = asyncio.create_task(shell("session", "revoke", granted["session_id"]))
    await shell.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    out, _ = await revoking
    assert "revoked: 1 USDC" in out


async def test_two_shells_that_launch_one_agent_at_once_grant_it_one_session(shell: Owner) -> None:
    launched = await asyncio.gather(*(starter("launch", "five", "--home", str(shell.home)) for _ in range(2)))
    assert sorted(code for code, _, _ in launched) == [0, 2]
    assert any("is already running" in err for _, _, err in launched)
    assert len(await shell.sessions("five")) == 1


async def test_a_grant_that_is_cut_off_loses_nothing(shell: Owner) -> None:
    """Killed as soon as its session is in the ledger: the owner's transaction may have left or not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(STARTER), "session", "grant", "six", "--home", str(shell.home), env=clean_environment()
    )
    while not [each for each in await shell.ledger.sessions.list() if each.agent == "six"]:
        assert process.returncode is None
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    (cut_off,) = await shell.sessions("six")
    (revoked,) = await shell.json("session", "revoke", cut_off["session_id"])
    (listed,) = await shell.sessions("six")
    assert (revoked["state"], listed["status"], listed["on_chain"]) == ("revoked", "REVOKED", None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["grant", "a/b"], "not an agent's name"),
        (["grant", "a", "--host", "http://api.test"], "is not a host like"),
        (["grant", "a", "--owner", "abc", "--export", "x"], "not a Solana address"),
        (["grant", "a", "--owner", "abc"], "give --owner ADDRESS and --export FILE"),
        (["grant", "a", "--owner-keypair", "/no/such/file"], "No such file"),
        (["grant", "a", "--owner", str(Keypair().pubkey()), "--export", "/no/such/x"], "in a directory that exists"),
        (["grant", "a", "--owner", str(Keypair().pubkey()), "--export", "x.json"], "has no USDC account"),
        (["list", "nobody"], "there is no agent 'nobody'"),
        (["revoke"], "give a session's id, or --agent"),
        (["revoke", "x"], "is not a session's id"),
        (["revoke", "00000000-0000-0000-0000-000000000000"], "there is no session"),
        (["revoke", "--agent", "nobody"], "there is no agent 'nobody'"),
        (["submit", "/no/such/file"], "No such file"),
        (["submit", "00000000-0000-0000-0000-000000000000"], "there is no session"),
        (["export", "00000000-0000-0000-0000-000000000000", "x.json"], "there is no session"),
    ],
)
async def test_a_mistake_is_told(shell: Owner, arguments: list[str], says: str) -> None:
    assert says in (await shell("session", *arguments, code=2))[1]


async def test_the_list_tells_when_the_chain_is_away(shell: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    await shell.json("session", "grant", "seven")
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
    (listed,) = await shell.sessions("seven")
    assert (listed["on_chain"], listed["state"]) == (None, "active")
    assert "chain unreachable" in listed["chain_problem"]
    assert "chain unreachable" in (await shell("session", "list", "seven"))[0]


def _signed(exported: Path, wallet: Keypair) -> str:
    """What a wallet makes of the exported file: the signed transaction in base64, in a file."""
    content = json.loads(exported.read_text())
    unsigned = VersionedTransaction.from_bytes(b64decode(content["transaction"]))
    signed = exported.with_suffix(".signed")
    signed.write_text(b64encode(bytes(VersionedTransaction(unsigned.message, [wallet]))).decode())
    return str(signed)


async def _open_payment(shell: Owner, session: dict[str, Any]) -> RecordedAttempt:
    """A payment that was signed, and of which nobody has heard since."""
    book = Book(shell.ledger, session["agent"], UUID(session["session_id"]))
    offer = offer_of().model_copy(update={"mint": session["mint"]})
    signed = signed_payment(offer=offer, source_account=session["source_account"])
    attempt = await shell.ledger.payments.record_attempt(await book.accepted(), 1, book.session_id, signed)
    assert isinstance(attempt, RecordedAttempt)
    return attempt
