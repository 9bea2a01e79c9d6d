"""What a WebSocket client does: receive, subscribe, say anything at all."""

import asyncio
import json
from typing import Any, TypeVar

from solana.rpc.commitment import Confirmed
from solana.rpc.websocket_api import SolanaWsClientProtocol
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rpc.responses import SubscriptionResult

from tests.chain.node import eventually
from tests.chain.wallet import Token, Wallets

PATIENCE_S = 30
T = TypeVar("T")


async def receive(ws: SolanaWsClientProtocol, kind: type[T]) -> T:
    """The next message, which must be of this kind."""
    (message,) = await asyncio.wait_for(ws.recv(), PATIENCE_S)
    assert isinstance(message, kind), message
    return message


async def subscription(ws: SolanaWsClientProtocol) -> int:
    return (await receive(ws, SubscriptionResult)).result


async def raw(ws: Any, request: object) -> dict[str, Any]:
    """The answer to anything at all."""
    await ws.send(request if isinstance(request, (str, bytes)) else json.dumps(request))
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(ws.recv(), PATIENCE_S))
    return answer


async def read_all(ws: Any) -> None:
    """Read until the connection ends, which it must."""
    while True:
        await asyncio.wait_for(ws.recv(), PATIENCE_S)


async def holding(wallets: Wallets, token: Token, amount_atomic: int = 1_000) -> tuple[Keypair, Pubkey]:
    """A new wallet and its token account, known at confirmed."""
    wallet = await wallets.rich()
    account = await wallets.fund(token, wallet.pubkey(), amount_atomic)

    async def known() -> bool:
        return (await wallets.rpc.get_account_info(account, Confirmed)).value is not None

    await eventually(known)
    return wallet, account
