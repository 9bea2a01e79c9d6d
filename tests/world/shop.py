"""What a seller asks: its price, its payee, and how it treats memos, identifiers and bytes that it has seen before."""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from solders.pubkey import Pubkey

from autopay.domain.network import Network, usdc_mint, wire_name
from autopay.domain.payment.offer import Challenge, Option
from tests.world.vault import digest, token_account_of

NETWORK = Network.DEVNET
MINT = usdc_mint(NETWORK)


def address(name: str) -> str:
    """A base58 address that is always the same for a name."""
    return str(Pubkey(bytes.fromhex(digest("address", name))))


@dataclass
class Shop:
    """One API at one host. `strict`: other bytes under a known identifier are a conflict, settled or not."""

    host: str
    price_atomic: int
    version: Literal[1, 2] = 2
    memo: str | None = None
    identifier: bool = False
    strict: bool = False
    redelivers: bool = True
    payee_number: int = field(default=0)

    @property
    def pay_to(self) -> str:
        """Whom to pay now."""
        return address(f"{self.host}/payee{self.payee_number % 2}")

    def payees(self) -> list[str]:
        """Everybody who may ever be paid here."""
        return [address(f"{self.host}/payee{number}") for number in (0, 1)]

    def reprice(self, rng: Random) -> None:
        """Another price from now on."""
        self.price_atomic = max(1, self.price_atomic + rng.choice((-300, -1, 1, 100, 500)))

    def change_payee(self) -> None:
        """Another payee from now on."""
        self.payee_number += 1

    def accepts(self, message: dict[str, Any]) -> bool:
        """Whether a payment is what is asked now."""
        wanted = (self.price_atomic, token_account_of(self.pay_to, MINT))
        return (message["amount"], message["destination"]) == wanted

    def challenge(self) -> Challenge:
        """The 402."""
        raw = json.dumps({"amount": self.price_atomic, "payTo": self.pay_to})
        option = Option(
            scheme="exact",
            network=wire_name(NETWORK, self.version),
            asset=MINT,
            amount=str(self.price_atomic),
            pay_to=self.pay_to,
            fee_payer=address("facilitator"),
            memo=self.memo,
            raw=raw,
        )
        return Challenge(
            version=self.version,
            options=(option,),
            resource_url=f"https://{self.host}/data",
            offers_payment_identifier=self.identifier,
        )
