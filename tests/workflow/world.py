"""A small world for workflow tests: a chain whose slots follow the test server's clock, and a seller with a script.

The ledger, the vault, the signer and every activity are the real ones; only what is beyond our process is played.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Vault
from autopay.domain.errors import ChainUnavailable, SellerUnavailable
from autopay.domain.money import Currency
from autopay.domain.network import Network, caip2, genesis_hash, usdc_mint
from autopay.domain.payment.chain import (
    Blockhash,
    HistoryEntry,
    LandedTransaction,
    MintFacts,
    Tip,
    TokenAccount,
    TransactionState,
    Transfer,
)
from autopay.domain.payment.exchange import Receipt, Reply, RequestExtras, UnpaidReply
from autopay.domain.payment.offer import Challenge, Option
from autopay.domain.phase import Phase
from autopay.domain.request import Method
from autopay.domain.session import NewSession
from autopay.domain.text.hosts import host_of

SLOT_MS = 400
PRICE = 1000
TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
USDC = usdc_mint(Network.DEVNET)
OWNER, SELLER, FACILITATOR = Keypair(), Keypair(), Keypair()
SOURCE = str(Keypair().pubkey())

Clock = Callable[[], Awaitable[datetime]]


class PlayedChain:
    """Implements the port `Chain`; transactions land when the seller says so."""

    def __init__(self, clock: Clock, began: datetime) -> None:
        self.clock, self.began = clock, began
        self.blocks: list[tuple[int, VersionedTransaction, str | None]] = []
        self.authority = ""
        self.funds = 1_000_000
        self.away = False

    async def slot(self) -> int:
        if self.away:
            raise ChainUnavailable("played")
        return 1000 + int((await self.clock() - self.began).total_seconds() * 1000 / SLOT_MS)

    async def land(self, payment: bytes) -> str:
        """What a facilitator does: sign as fee payer and broadcast; identical messages land once."""
        raw = json.loads(base64.b64decode(payment))["payload"]["transaction"]
        tx = VersionedTransaction.from_bytes(base64.b64decode(raw))
        message = tx.message
        assert isinstance(message, MessageV0)
        signature = FACILITATOR.sign_message(to_bytes_versioned(message))
        signed = VersionedTransaction.populate(message, [signature, tx.signatures[1]])
        if all(bytes(known.message) != bytes(message) for _, known, _ in self.blocks):
            memo = bytes(message.instructions[3].data).decode()
            self.blocks.append((await self.slot(), signed, memo))
        return str(signature)

    @property
    def spent(self) -> int:
        return len(self.blocks) * PRICE

    async def genesis_hash(self) -> str:
        return genesis_hash(Network.DEVNET)

    async def latest_blockhash(self) -> Blockhash:
        slot = await self.slot()
        blockhash = str(Pubkey(hashlib.sha256(str(slot).encode()).digest()))
        return Blockhash(blockhash=blockhash, slot=slot, last_valid_block_height=slot - 100 + 150)

    async def finalized_tip(self) -> Tip:
        slot = await self.slot() - 32
        return Tip(slot=slot, block_height=slot - 100)

    async def first_available_slot(self) -> int:
        return 0

    async def statuses(self, signatures: Sequence[str]) -> Sequence[TransactionState | None]:
        slot = await self.slot()
        landed = {str(each.signatures[0]): at for at, each, _ in self.blocks}
        return [
            TransactionState(slot=landed[each], failed=False, final=landed[each] <= slot - 32)
            if landed.get(each, slot) <= slot - 1
            else None
            for each in signatures
        ]

    async def mint_facts(self, mint: str) -> MintFacts | None:
        return MintFacts(mint=mint, program=TOKEN_PROGRAM, decimals=6)

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        slot = await self.slot() - (32 if final else 1)
        spent = PRICE * sum(landed <= slot for landed, _, _ in self.blocks)
        return TokenAccount(
            address=address,
            owner=str(OWNER.pubkey()),
            mint=USDC,
            amount_atomic=self.funds - spent,
            delegate=self.authority,
            delegated_atomic=1_000_000 - spent,
            slot=slot,
        )

    async def newest_signature(self, account: str) -> str | None:
        return str(self.blocks[-1][1].signatures[0]) if self.blocks else None

    async def transaction(self, signature: str) -> LandedTransaction | None:
        now = await self.slot()
        for slot, tx, _ in self.blocks:
            if str(tx.signatures[0]) == signature and slot < now:
                return _landed(tx, slot, final=slot <= now - 32)
        return None

    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        tip = await self.slot() - (32 if final else 1)
        rows: list[HistoryEntry] = []
        for slot, tx, memo in reversed(self.blocks):
            if str(tx.signatures[0]) == until:
                break
            if slot <= tip:
                rows.append(
                    HistoryEntry(signature=str(tx.signatures[0]), slot=slot, failed=False, memos=f"[32] {memo}")
                )
        return rows


def _landed(tx: VersionedTransaction, slot: int, *, final: bool) -> LandedTransaction:
    message = tx.message
    assert isinstance(message, MessageV0)
    keys = [str(key) for key in message.account_keys]
    transfer = message.instructions[2]
    source, mint, destination, authority = (keys[index] for index in transfer.accounts)
    amount = int.from_bytes(bytes(transfer.data)[1:9], "little")
    return LandedTransaction(
        signature=str(tx.signatures[0]),
        slot=slot,
        failed=False,
        final=final,
        message_hash=hashlib.sha256(to_bytes_versioned(message)).hexdigest(),
        signatures=tuple(str(each) for each in tx.signatures),
        transfers=(
            Transfer(source=source, mint=mint, destination=destination, authority=authority, amount_atomic=amount),
        ),
    )


class PlayedAccountWatch:
    """Implements the port `AccountWatch`: money that comes in from outside is seen, and nothing else."""

    def __init__(self, chain: PlayedChain) -> None:
        self.chain = chain
        self.waits = 0

    async def changed(self, accounts: tuple[str, ...], timeout_s: float) -> bool:
        self.waits += 1
        before, deadline = self.chain.funds, await self.chain.clock() + timedelta(seconds=timeout_s)
        while self.chain.funds == before and await self.chain.clock() < deadline:  # noqa: ASYNC110 (time is played)
            await asyncio.sleep(0.02)
        return self.chain.funds != before


Deed = Callable[["PlayedSeller", bytes], Awaitable[Reply]]


class PlayedSeller:
    """Implements the port `Seller`: each payment gets the script's next deed, the last one for ever."""

    def __init__(self, chain: PlayedChain, *script: Deed) -> None:
        self.chain = chain
        self.script = list(script) or [deliver]
        self.paid: list[bytes] = []
        self.free = False
        self.free_hosts: set[str] = set()
        self.away: set[str] = set()
        self.asked: list[str] = []
        self.price = PRICE

    async def ask(self, url: str, method: Method, extras: RequestExtras) -> UnpaidReply:
        self.asked.append(url)
        if host_of(url) in self.away:
            raise SellerUnavailable("played")
        if self.free or host_of(url) in self.free_hosts:
            return UnpaidReply(reply=Reply(http_status=200, content_type="application/json", body=b'{"free": true}'))
        accepted = {"scheme": "exact", "network": caip2(Network.DEVNET), "asset": USDC, "amount": str(self.price)}
        more = {"payTo": str(SELLER.pubkey()), "maxTimeoutSeconds": 60}
        extra = {"extra": {"feePayer": str(FACILITATOR.pubkey())}}
        option = Option(
            scheme="exact",
            network=caip2(Network.DEVNET),
            asset=USDC,
            amount=str(self.price),
            pay_to=str(SELLER.pubkey()),
            fee_payer=str(FACILITATOR.pubkey()),
            memo=None,
            raw=json.dumps({**accepted, **more, **extra}),
        )
        return UnpaidReply(
            reply=Reply(http_status=402), challenge=Challenge(version=2, options=(option,), resource_url=url)
        )

    async def pay(self, url: str, method: Method, extras: RequestExtras, version: int, payment: bytes) -> Reply:
        self.paid.append(payment)
        deed = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await deed(self, payment)


def _reply(status: int, signature: str | None = None, *, success: bool = True) -> Reply:
    receipt = None
    if signature is not None or not success:
        receipt = Receipt(success=success, transaction=signature, raw={"success": success, "transaction": signature})
    body = b'{"data": 42}' if status == 200 else b"{}"
    return Reply(http_status=status, content_type="application/json", body=body, receipt=receipt)


async def deliver(seller: PlayedSeller, payment: bytes) -> Reply:
    """Settles and delivers, with an honest receipt."""
    return _reply(200, await seller.chain.land(payment))


async def settle_and_lose_the_answer(seller: PlayedSeller, payment: bytes) -> Reply:
    """Takes the money; the answer never arrives."""
    await seller.chain.land(payment)
    raise SellerUnavailable("cut")


async def lose_the_request(seller: PlayedSeller, payment: bytes) -> Reply:
    """The bytes never arrive."""
    raise SellerUnavailable("reset")


async def settle_and_fail(seller: PlayedSeller, payment: bytes) -> Reply:
    """Takes the money and answers 500, always."""
    return _reply(500, await seller.chain.land(payment))


async def refuse(seller: PlayedSeller, payment: bytes) -> Reply:
    """Answers 402 again and settles nothing."""
    return _reply(402)


async def lie(seller: PlayedSeller, payment: bytes) -> Reply:
    """Delivers with a receipt for a transaction that does not exist, and settles nothing."""
    return _reply(200, str(Keypair().sign_message(b"a lie")))


async def agent_with_session(
    ledger: PostgresLedger, vault: Vault, chain: PlayedChain, name: str = "tester", tx_limit: int = 12
) -> None:
    """An agent in the ledger, with a session over the played source account."""
    key, session_id = Keypair(), uuid4()
    chain.authority = str(key.pubkey())
    await ledger.agents.create(name, Phase.FULL, str(OWNER.pubkey()))
    await ledger.sessions.create(
        NewSession(
            agent=name,
            currency=Currency.USDC,
            mint=USDC,
            source_account=SOURCE,
            owner=str(OWNER.pubkey()),
            authority=chain.authority,
            sealed_key=vault.seal(bytes(key), purpose="session-key", row=str(session_id)),
            allowance_atomic=1_000_000,
            tx_limit=tx_limit,
            duration_s=3600,
            session_id=session_id,
        )
    )
