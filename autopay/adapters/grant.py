"""Grants a session: a fresh key that may spend up to an allowance, and no more, because the chain says so.

One transaction, signed by the owner: it creates a token account of the owner's for this session alone, moves the
allowance into it from the owner's associated account, and makes the session key its delegate (ApproveChecked). A
token account has one delegate at a time, so sessions that shared one would end each other; with an account each,
the most that a session can lose is what was put into it. The owner's key is used here and stored nowhere.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from solana.exceptions import SolanaRpcException
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.core import RPCException, TransactionExpiredBlockheightExceededError, UnconfirmedTxError
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountWithSeedParams, create_account_with_seed
from solders.transaction import VersionedTransaction
from spl.token.instructions import (
    approve_checked,
    get_associated_token_address,
    initialize_account3,
    transfer_checked,
)
from spl.token.models import ApproveCheckedParams, InitializeAccount3Params, TransferCheckedParams

from autopay.adapters.extensions import account_length
from autopay.adapters.vault import Vault
from autopay.domain.errors import ChainUnavailable, PermanentFault, TransientFault
from autopay.domain.money import DECIMALS, Currency, show
from autopay.domain.ports import AgentRecord


class GrantRefused(PermanentFault):
    """The session cannot be granted."""


class GrantUnknown(TransientFault):
    """It is not known whether the session was granted."""


class SessionBook(Protocol):
    """Where a granted session is recorded: the ledger."""

    async def create_session(
        self,
        agent: str,
        currency: Currency,
        mint: str,
        source_account: str,
        owner: str,
        authority: str,
        sealed_key: str,
        allowance_atomic: int,
        tx_limit: int,
        duration_s: int,
        session_id: UUID,
    ) -> None:
        """Record the session as ACTIVE."""
        ...

    async def end_session(self, session_id: UUID) -> bool:
        """Revoke it and destroy its key."""
        ...


@dataclass(frozen=True)
class GrantedSession:
    """A session that the chain has approved; `signature` is the owner's transaction."""

    session_id: UUID
    source_account: str
    authority: str
    signature: str


async def grant_session(
    rpc_url: str,
    ledger: SessionBook,
    vault: Vault,
    *,
    agent: AgentRecord,
    owner: Keypair,
    currency: Currency,
    mint: str,
    allowance_atomic: int,
    tx_limit: int,
    duration_s: int,
) -> GrantedSession:
    """Make the key, have the owner's transaction confirmed, and record the session.

    The session is in the ledger before the owner's transaction leaves, so that whatever happens on the way, the
    account that holds the allowance is known. A transaction that was refused ends the session again.

    Raises:
        GrantRefused: the owner lacks tokens or SOL, or the chain refused the transaction.
        ChainUnavailable: the node does not answer; nothing was sent.
        GrantUnknown: it was sent and not confirmed in time.
    """
    session_id, key = uuid4(), Keypair()
    async with AsyncClient(rpc_url, commitment=Confirmed) as client:
        with _named_faults():
            account, steps = await _steps(
                client, owner, key.pubkey(), Pubkey.from_string(mint), allowance_atomic, session_id
            )
        await ledger.create_session(
            agent=agent.name,
            currency=currency,
            mint=mint,
            source_account=str(account),
            owner=str(owner.pubkey()),
            authority=str(key.pubkey()),
            sealed_key=vault.seal(bytes(key), purpose="session-key", row=str(session_id)),
            allowance_atomic=allowance_atomic,
            tx_limit=tx_limit,
            duration_s=duration_s,
            session_id=session_id,
        )
        try:
            with _named_faults():
                signature = await _send(client, owner, steps)
        except GrantRefused:
            await ledger.end_session(session_id)
            raise
        except ChainUnavailable as fault:
            note = f"{fault}; if the grant lands after all, its allowance is in account {account} of the owner's"
            raise GrantUnknown(note) from None
    return GrantedSession(session_id, str(account), str(key.pubkey()), signature)


@contextmanager
def _named_faults() -> Iterator[None]:
    """Turn what the RPC client raises into faults that say no URL: it may hold an access key."""
    try:
        yield
    except RPCException as error:
        raise GrantRefused(_plain(error)) from None
    except SolanaRpcException as error:
        raise ChainUnavailable(type(error.__cause__).__name__) from None
    except (UnconfirmedTxError, TransactionExpiredBlockheightExceededError):
        raise ChainUnavailable("the grant was not confirmed in time") from None
    except (OSError, ValueError) as error:
        raise ChainUnavailable(type(error).__name__) from None


async def _steps(
    client: AsyncClient, owner: Keypair, delegate: Pubkey, mint: Pubkey, allowance: int, session_id: UUID
) -> tuple[Pubkey, list[Instruction]]:
    info = (await client.get_account_info(mint)).value
    if info is None:
        raise GrantRefused(f"there is no mint {mint} on this network")
    program, size = info.owner, account_length(bytes(info.data))
    home = get_associated_token_address(owner.pubkey(), mint, program)
    await _check_funds(client, owner.pubkey(), home, allowance)
    seed = hashlib.sha256(session_id.bytes).hexdigest()[:32]
    account = Pubkey.create_with_seed(owner.pubkey(), seed, program)
    rent = (await client.get_minimum_balance_for_rent_exemption(size)).value
    me = owner.pubkey()
    create = create_account_with_seed(
        CreateAccountWithSeedParams(
            from_pubkey=me, to_pubkey=account, base=me, seed=seed, lamports=rent, space=size, owner=program
        )
    )
    return account, [
        create,
        initialize_account3(InitializeAccount3Params(program_id=program, account=account, mint=mint, owner=me)),
        transfer_checked(
            TransferCheckedParams(
                program_id=program, source=home, mint=mint, dest=account, owner=me, amount=allowance, decimals=DECIMALS
            )
        ),
        approve_checked(
            ApproveCheckedParams(
                program_id=program,
                source=account,
                mint=mint,
                delegate=delegate,
                owner=me,
                amount=allowance,
                decimals=DECIMALS,
            )
        ),
    ]


async def _check_funds(client: AsyncClient, owner: Pubkey, home: Pubkey, allowance: int) -> None:
    if (await client.get_account_info(home)).value is None:
        raise GrantRefused(f"the owner {owner} has no token account in this currency ({home})")
    held = int((await client.get_token_account_balance(home)).value.amount)
    if held < allowance:
        missing = show(allowance - held, "more in this currency")
        raise GrantRefused(f"the owner {owner} needs {missing}")
    if (await client.get_balance(owner)).value == 0:
        raise GrantRefused(f"the owner {owner} has no SOL for the transaction's fee and the account's rent")


async def _send(client: AsyncClient, owner: Keypair, steps: list[Instruction]) -> str:
    latest = (await client.get_latest_blockhash(Confirmed)).value
    message = MessageV0.try_compile(owner.pubkey(), steps, [], latest.blockhash)
    transaction = VersionedTransaction(message, [owner])
    signature = (await client.send_transaction(transaction)).value
    confirmed = await client.confirm_transaction(
        signature, Confirmed, sleep_seconds=0.1, last_valid_block_height=latest.last_valid_block_height
    )
    status = confirmed.value[0]
    if status is not None and status.err is not None:
        raise GrantRefused(f"the chain refused it: {status.err}")
    return str(signature)


def _plain(error: RPCException) -> str:
    return str(error.args[0])[:300] if error.args else "the node refused the transaction"
