"""Grants and revokes that are signed by a wallet, cut off at every step: the same again always ends well."""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.postgres.sessions.sessions import Sessions
from autopay.adapters.solana.owner.grant import GrantTerms
from autopay.adapters.solana.owner.owner_transaction import OwnerNode, OwnerSignatureWrong, unsigned
from autopay.adapters.solana.rpc import NodeRpc
from autopay.adapters.vault import Keyring, Vault
from autopay.delegation.connections import OwnerConnections
from autopay.delegation.drafts import Draft, Revoked, fresh_grant_draft, grant_draft, open_session, revoke_draft
from autopay.delegation.errors import NotDelegated, WaitsForOwner
from autopay.delegation.submission import Granted, Submission, submit
from autopay.domain.money import Currency
from autopay.domain.network import Network
from localnet.chain.genesis import USDC_MINT
from localnet.tokens import ensure_sol, faucet
from tests.browser.wallet import ADDS_A_BUDGET, Change, adds_a_transfer
from tests.localnet.stack import SLOT_MS, Stack, until

MONEY, ALLOWANCE, RENT, FEE = 5_000, 2_000, 2_039_280, 5_000


class Killed(BaseException):
    """The process ends here: nothing after it is done."""


@dataclass
class Wallet:
    """An owner whose wallet is elsewhere."""

    key: Keypair
    on: OwnerConnections
    vault: Vault

    async def draft(self, agent: str = "buyer") -> Draft:
        terms = GrantTerms(Currency.USDC, str(USDC_MINT), ALLOWANCE, tx_limit=3, duration_s=3_600)
        record = await open_session(self.on, self.vault, agent=agent, owner=self.key.pubkey(), terms=terms)
        return await grant_draft(self.on, record)

    async def granted(self) -> Draft:
        draft = await self.draft()
        await submit(self.on, self.signed(draft))
        return draft

    def signed(self, draft: Draft, change: Change | None = None, named: bool = True) -> Submission:
        message = VersionedTransaction.from_bytes(b64decode(unsigned(draft.asked))).message
        transaction = VersionedTransaction(message if change is None else change(message), [self.key])  # type: ignore[arg-type]
        return Submission(draft.record.session_id if named else None, b64encode(bytes(transaction)).decode(), None)

    async def lamports(self) -> int:
        found = await self.on.node.raw_account(self.key.pubkey())
        assert found is not None
        return found[2]


@pytest.fixture
async def wallet(stack: Stack, ledger: PostgresLedger) -> AsyncIterator[Wallet]:
    key = Keypair()
    await ensure_sol(stack.rpc_url, key.pubkey())
    await faucet(stack.rpc_url, key.pubkey(), USDC_MINT, MONEY)
    async with NodeRpc(stack.rpc_url, Network.DEVNET) as rpc:
        yield Wallet(key, OwnerConnections(ledger, OwnerNode(rpc), SLOT_MS), Vault(Keyring.generate()))


CUTS = [
    pytest.param(OwnerNode, "send", id="before it is sent"),
    pytest.param(OwnerNode, "_confirm", id="after it was sent"),
    pytest.param(Sessions, "mark_granted", id="before it is recorded"),
]


async def cut_off(monkeypatch: pytest.MonkeyPatch, where: type, step: str, work: Wallet, given: Submission) -> None:
    """Submit it, in a process that is killed at that step."""

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, step, killed)
        with pytest.raises(Killed):
            await submit(work.on, given)


@pytest.mark.parametrize(("where", "step"), CUTS)
async def test_a_grant_that_is_cut_off_is_granted_by_the_second_try_and_paid_once(
    wallet: Wallet, monkeypatch: pytest.MonkeyPatch, where: type, step: str
) -> None:
    draft, before = await wallet.draft(), await wallet.lamports()
    given = wallet.signed(draft)
    await cut_off(monkeypatch, where, step, wallet, given)
    for _ in range(2):
        result = await submit(wallet.on, given)
        assert isinstance(result, Granted)
        assert result.record.granted
    assert await wallet.lamports() == before - RENT - FEE


@pytest.mark.parametrize(
    ("where", "step"),
    [*CUTS[:2], pytest.param(Sessions, "clear_owner_transaction", id="before it is recorded")],
)
async def test_a_revoke_that_is_cut_off_is_finished_by_the_second_try(
    wallet: Wallet, monkeypatch: pytest.MonkeyPatch, where: type, step: str
) -> None:
    before = await wallet.lamports()
    session_id = (await wallet.granted()).record.session_id
    draft = await revoke_draft(wallet.on, session_id)
    assert isinstance(draft, Draft)
    given = wallet.signed(draft)
    await cut_off(monkeypatch, where, step, wallet, given)
    for _ in range(2):
        result = await submit(wallet.on, given)
        assert isinstance(result, Revoked)
        assert result.record.status == "REVOKED"
    assert await wallet.lamports() == before - 2 * FEE, "the rent is back"
    assert await revoke_draft(wallet.on, session_id) == Revoked(result.record, None, None)


async def test_a_grant_whose_wallet_sent_it_itself_is_found_on_chain(wallet: Wallet) -> None:
    draft = await wallet.draft()
    only_ask = Submission(draft.record.session_id, None, None)
    with pytest.raises(WaitsForOwner, match="does not show it yet"):
        await submit(wallet.on, only_ask)
    sent = VersionedTransaction.from_bytes(b64decode(wallet.signed(draft, ADDS_A_BUDGET).transaction or ""))
    await wallet.on.node.send(sent, draft.asked.last_valid_block_height)
    with pytest.raises(NotDelegated, match="on chain already"):
        await fresh_grant_draft(wallet.on, draft.record)
    result = await submit(wallet.on, only_ask)
    assert isinstance(result, Granted)
    assert result.signature is None


async def test_a_file_without_a_session_is_found_with_what_its_wallet_added(wallet: Wallet) -> None:
    other, draft = await wallet.draft(), await wallet.draft()
    with pytest.raises(NotDelegated, match="no session waits for that transaction"):
        await submit(wallet.on, wallet.signed(draft, adds_a_transfer(wallet.key, Keypair()), named=False))
    result = await submit(wallet.on, wallet.signed(draft, ADDS_A_BUDGET, named=False))
    assert isinstance(result, Granted)
    assert result.record.session_id == draft.record.session_id != other.record.session_id


async def test_a_draft_is_not_accepted_for_another_session_nor_after_a_newer_one(wallet: Wallet) -> None:
    first, second = await wallet.draft(), await wallet.draft()
    swapped = Submission(first.record.session_id, wallet.signed(second).transaction, None)
    with pytest.raises(OwnerSignatureWrong):
        await submit(wallet.on, swapped)
    before = await wallet.lamports()
    await _until_newer_blockhash(wallet, first)
    fresh = await fresh_grant_draft(wallet.on, first.record)
    with pytest.raises(OwnerSignatureWrong, match="another blockhash"):
        await submit(wallet.on, wallet.signed(first))
    assert await wallet.lamports() == before
    assert isinstance(await submit(wallet.on, wallet.signed(fresh)), Granted)


async def test_a_session_that_waits_is_ended_without_a_signature(wallet: Wallet) -> None:
    draft = await wallet.draft()
    result = await revoke_draft(wallet.on, draft.record.session_id)
    assert isinstance(result, Revoked)
    assert (result.record.status, result.plan, result.may_still_be_granted) == ("REVOKED", None, True)
    before = await wallet.lamports()
    with pytest.raises(NotDelegated, match="was ended before its grant"):
        await submit(wallet.on, wallet.signed(draft))
    assert await wallet.lamports() == before


async def test_the_agent_of_another_wallet_gets_no_session(wallet: Wallet) -> None:
    await wallet.draft("taken")
    wallet.key = Keypair()
    with pytest.raises(NotDelegated, match="belongs to wallet"):
        await wallet.draft("taken")


async def _until_newer_blockhash(wallet: Wallet, draft: Draft) -> None:
    async def newer() -> bool:
        latest = await wallet.on.node.chain.latest_blockhash()
        return latest.last_valid_block_height > draft.asked.last_valid_block_height

    await until(newer, "a newer blockhash")
