"""Who meets on a hostile seller's ground: the buyer's accounts, the payee, the thief; and what happened there.

Every key follows from a name, so that the accounts can lie on chain before the first block.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

from tests.hostile.accounts import USDC, Mint, token_account, wallet

FUNDS, ALLOWANCE = 1_000_000, 100_000
"""Base units in a session's account, and how many of them its key may move."""

PRICE, MOST = 1_000, 5_000
"""Base units that an honest offer asks, and that a request allows."""

DEVNET, DEVNET_V1 = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "solana-devnet"
LAMPORTS = 1_000_000_000


def key(name: str) -> Keypair:
    """The key of that name."""
    return Keypair.from_seed(hashlib.sha256(f"hostile sellers: {name}".encode()).digest())


FACILITATOR = key("facilitator")
"""Pays the fees of every honest settlement."""


OURS = ("owner", "session", "source", "other owner", "other session", "other source")
"""The roles that are the buyer's: of the session that pays, and of the one in the other currency."""


@dataclass
class Places:
    """Where everything is, once it runs, and how sellers get there; `stranger` is a transaction of nobody here."""

    rpc_url: str = ""
    facilitator_url: str = ""
    trap_url: str = ""
    stranger: str = ""
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=30))

    async def ask_chain(self, method: str, *params: object) -> Any:
        """The result, or None when the node refuses: what a thief tries need not work."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return (await self.http.post(self.rpc_url, json=asked)).json().get("result")


@dataclass
class Scene:
    """One way's ground; `url` is known once its shop is open."""

    name: str
    places: Places
    mint: Mint = USDC
    frozen_payee: bool = False
    url: str = ""
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked_at: int = 0
    objections: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)

    def key(self, role: str) -> Keypair:
        """The key of a role: owner, session, source, payee or thief."""
        return key(f"{self.name}/{role}")

    def address(self, role: str) -> str:
        """The role's address."""
        return str(self.key(role).pubkey())

    def account_of(self, role: str) -> Pubkey:
        """The associated token account of a role's wallet; the session's own is the role `source` itself."""
        return get_associated_token_address(self.key(role).pubkey(), self.mint.address, self.mint.program)

    def accounts(self) -> dict[Pubkey, Account]:
        """What lies on chain for this way; `payee` and `thief` can be paid, and have SOL for fees."""
        owner, session = self.key("owner").pubkey(), self.key("session").pubkey()
        source = token_account(self.mint, owner, FUNDS, delegate=session, delegated_atomic=ALLOWANCE)
        found = {self.key("source").pubkey(): source}
        for role in (*OURS, "payee", "thief"):
            frozen = role == "payee" and self.frozen_payee
            found[self.account_of(role)] = token_account(self.mint, self.key(role).pubkey(), frozen=frozen)
        for role in ("payee", "thief"):
            found[self.key(role).pubkey()] = wallet(LAMPORTS)
        if self.mint.data:
            found[self.mint.address] = Account(LAMPORTS, self.mint.data, self.mint.held_by or self.mint.program)
        return found


Spoken = Any
"""A value of an offer, or a function that makes it from the scene."""


def spoken(value: Spoken, scene: Scene) -> Any:
    """The value itself."""
    return value(scene) if callable(value) else value


def its(role: str) -> Callable[[Scene], str]:
    """That role's address, once the scene is known."""
    return lambda scene: scene.address(role)
