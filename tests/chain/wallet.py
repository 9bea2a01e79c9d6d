"""Wallets with money on the embedded chain, and the transactions that the tests send."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed, Processed
from solana.rpc.models import TxOpts
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.token.instructions import (
    create_idempotent_associated_token_account,
    get_associated_token_address,
    mint_to,
    transfer_checked,
)
from spl.token.models import MintToParams, TransferCheckedParams

from localnet.chain.genesis import DECIMALS, MINT_AUTHORITY
from tests.chain.node import eventually

SOL = 1_000_000_000
NO_PREFLIGHT = TxOpts(skip_preflight=True)
AT_TIP = TxOpts(preflight_commitment=Processed)


@dataclass
class Token:
    """A mint and its token program."""

    mint: Pubkey
    program: Pubkey

    def account_of(self, owner: Pubkey) -> Pubkey:
        return get_associated_token_address(owner, self.mint, self.program)

    def open(self, payer: Pubkey, owner: Pubkey) -> Instruction:
        return create_idempotent_associated_token_account(payer, owner, self.mint, self.program)

    def mint_to(self, owner: Pubkey, amount_atomic: int) -> Instruction:
        return mint_to(
            MintToParams(
                program_id=self.program,
                mint=self.mint,
                dest=self.account_of(owner),
                mint_authority=MINT_AUTHORITY.pubkey(),
                amount=amount_atomic,
            )
        )

    def transfer(self, source: Pubkey, destination: Pubkey, authority: Pubkey, amount_atomic: int) -> Instruction:
        return transfer_checked(
            TransferCheckedParams(
                program_id=self.program,
                source=source,
                mint=self.mint,
                dest=destination,
                owner=authority,
                amount=amount_atomic,
                decimals=DECIMALS,
            )
        )


def memo(text: str | bytes, *signers: Pubkey) -> Instruction:
    data = text if isinstance(text, bytes) else text.encode()
    return Instruction(MEMO_PROGRAM_ID, data, [AccountMeta(key, is_signer=True, is_writable=False) for key in signers])


def pay_sol(sender: Pubkey, recipient: Pubkey, lamports: int) -> Instruction:
    return transfer(TransferParams(from_pubkey=sender, to_pubkey=recipient, lamports=lamports))


def build(blockhash: Hash, instructions: Sequence[Instruction], *signers: Keypair) -> VersionedTransaction:
    """A v0 transaction; the first signer pays the fee."""
    message = MessageV0.try_compile(signers[0].pubkey(), list(instructions), [], blockhash)
    return VersionedTransaction(message, list(signers))


class Wallets:
    """Makes wallets on one chain and sends for them."""

    def __init__(self, rpc: AsyncClient) -> None:
        self.rpc = rpc

    async def blockhash(self) -> Hash:
        return (await self.rpc.get_latest_blockhash(Processed)).value.blockhash

    async def rich(self, lamports: int = 10 * SOL) -> Keypair:
        """A new wallet with SOL, at once at `processed`."""
        wallet = Keypair()
        await self.rpc.request_airdrop(wallet.pubkey(), lamports)
        return wallet

    async def build(self, instructions: Sequence[Instruction], *signers: Keypair) -> VersionedTransaction:
        return build(await self.blockhash(), instructions, *signers)

    async def send(self, instructions: Sequence[Instruction], *signers: Keypair, options: TxOpts = AT_TIP) -> Signature:
        """Sign and send, made unique by a memo."""
        unique = memo(secrets.token_hex(8))
        transaction = await self.build([*instructions, unique], *signers)
        return (await self.rpc.send_raw_transaction(bytes(transaction), options)).value

    async def fund(self, token: Token, owner: Pubkey, amount_atomic: int) -> Pubkey:
        """Mint tokens to a wallet's associated account, which is returned."""
        authority = MINT_AUTHORITY.pubkey()
        await self.send([token.open(authority, owner), token.mint_to(owner, amount_atomic)], MINT_AUTHORITY)
        return token.account_of(owner)

    async def wait(self, signature: Signature, status: str = "confirmed") -> None:
        """Return when a transaction has reached a confirmation status."""
        ranks = ["processed", "confirmed", "finalized"]

        async def reached() -> bool:
            found = (await self.rpc.get_signature_statuses([signature])).value[0]
            return found is not None and int(found.confirmation_status or 0) >= ranks.index(status)

        await eventually(reached)

    async def balance(self, account: Pubkey) -> int:
        """Base units of a token account at confirmed."""
        return int((await self.rpc.get_token_account_balance(account, Confirmed)).value.amount)
