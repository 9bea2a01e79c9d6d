"""Test tokens into any token account of the embedded chain, where `tokens.faucet` knows associated ones only."""

import secrets

from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.instruction import Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.token.instructions import mint_to
from spl.token.models import MintToParams

from localnet.chain.genesis import MINT_AUTHORITY
from localnet.tokens import TokenError, ensure_sol


async def mint_to_account(rpc_url: str, account: Pubkey, mint: Pubkey, amount_atomic: int) -> None:
    """Mint `amount_atomic` base units of `mint` into `account`; confirmed on return.

    Raises:
        TokenError: there is no such mint.
    """
    await ensure_sol(rpc_url, MINT_AUTHORITY.pubkey())
    async with AsyncClient(rpc_url, commitment=Confirmed) as rpc:
        found = (await rpc.get_account_info(mint)).value
        if found is None:
            raise TokenError(f"no mint {mint} on this chain")
        order = MintToParams(
            program_id=found.owner,
            mint=mint,
            dest=account,
            mint_authority=MINT_AUTHORITY.pubkey(),
            amount=amount_atomic,
        )
        # Two equal transactions under one blockhash are one transaction: the nonce keeps them apart.
        nonce = Instruction(MEMO_PROGRAM_ID, secrets.token_hex(8).encode(), [])
        latest = (await rpc.get_latest_blockhash()).value
        message = MessageV0.try_compile(MINT_AUTHORITY.pubkey(), [mint_to(order), nonce], [], latest.blockhash)
        signature = (await rpc.send_transaction(VersionedTransaction(message, [MINT_AUTHORITY]))).value
        await rpc.confirm_transaction(
            signature, sleep_seconds=0.1, last_valid_block_height=latest.last_valid_block_height
        )
