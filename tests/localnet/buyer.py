"""A buyer on the official x402 client, so that the stand-ins are tried by code that is not ours."""

import json
import warnings
from dataclasses import dataclass

import httpx
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import get_associated_token_address
from x402 import x402Client
from x402.client_base import RequirementsView
from x402.extensions.payment_identifier import append_payment_identifier_to_extensions
from x402.http import x402HTTPClient
from x402.http.clients import x402HttpxClient
from x402.http.utils import decode_payment_required_header, decode_payment_response_header
from x402.mechanisms.svm import KeypairSigner
from x402.mechanisms.svm.exact import ExactSvmClientScheme
from x402.mechanisms.svm.exact.v1 import ExactSvmSchemeV1Client
from x402.schemas import PaymentRequired, SettleResponse

from localnet.chain.genesis import CASH_MINT, USDC_MINT
from localnet.tokens import faucet

DEVNET = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
FUNDS_ATOMIC = 10_000_000


@dataclass(frozen=True)
class Landed:
    """A payment as the chain tells it: `gains` are token account balances that rose or fell, by account."""

    error: object
    gains: dict[str, int]


class Buyer:
    """A wallet with USDC and CASH, which pays with `mint`."""

    def __init__(self, rpc_url: str) -> None:
        self.rpc_url = rpc_url
        self.keypair = Keypair()
        self.accounts: dict[Pubkey, Pubkey] = {}
        signer = KeypairSigner(self.keypair)
        self.scheme = ExactSvmClientScheme(signer, rpc_url)
        self.scheme_v1 = ExactSvmSchemeV1Client(signer, rpc_url)
        with warnings.catch_warnings(action="ignore"):
            # The SDK still uses solana-py's deprecated client; it is made here, once, for all its payments.
            for scheme in (self.scheme, self.scheme_v1):
                scheme._get_client(DEVNET)

    async def fund(self) -> None:
        for mint in (USDC_MINT, CASH_MINT):
            self.accounts[mint] = await faucet(self.rpc_url, self.keypair.pubkey(), mint, FUNDS_ATOMIC)

    def x402(self, mint: Pubkey) -> x402Client:
        def chosen(_version: int, offers: list[RequirementsView]) -> RequirementsView:
            return next(offer for offer in offers if offer.asset == str(mint))

        client = x402Client(chosen)
        client.register("solana:*", self.scheme)
        client.register_v1("solana-devnet", self.scheme_v1)
        return client.set_spend_controls(False)  # by default it pays in tokens of the SDK's own list only

    def http(self, mint: Pubkey) -> x402HttpxClient:
        return x402HttpxClient(self.x402(mint), timeout=30)

    async def signed(
        self, response: httpx.Response, mint: Pubkey = USDC_MINT, identifier: str | None = None
    ) -> dict[str, str]:
        """The payment header for the offer in a 402 of either version; another call signs another transaction."""
        client = self.x402(mint)
        http = x402HTTPClient(client)
        body = response.json() if response.content else None
        offer = http.get_payment_required_response(response.headers.get, body)
        if identifier is not None:
            assert isinstance(offer, PaymentRequired)
            assert offer.extensions is not None
            append_payment_identifier_to_extensions(offer.extensions, identifier)
        return http.encode_payment_signature_header(await client.create_payment_payload(offer))

    async def landed(self, transaction: str) -> Landed:
        """The transaction, read from the chain."""
        async with AsyncClient(self.rpc_url) as rpc:
            answer = await rpc.get_transaction(
                Signature.from_string(transaction), "json", Confirmed, max_supported_transaction_version=0
            )
        assert answer.value is not None, transaction
        found = json.loads(answer.to_json())["result"]
        keys = found["transaction"]["message"]["accountKeys"]
        gains: dict[str, int] = {}
        for sign, side in ((1, "postTokenBalances"), (-1, "preTokenBalances")):
            for balance in found["meta"][side]:
                account = keys[balance["accountIndex"]]
                gains[account] = gains.get(account, 0) + sign * int(balance["uiTokenAmount"]["amount"])
        return Landed(found["meta"]["err"], gains)

    def close(self) -> None:
        """The SDK's RPC clients have no way to be closed."""
        for scheme in (self.scheme, self.scheme_v1):
            for client in scheme._clients.values():
                client._provider.session.close()


def offer_of(response: httpx.Response) -> PaymentRequired:
    """The v2 offer of a 402."""
    assert response.status_code == 402
    offer = decode_payment_required_header(response.headers["PAYMENT-REQUIRED"])
    assert isinstance(offer, PaymentRequired)
    return offer


def receipt_of(response: httpx.Response) -> SettleResponse:
    """The receipt of either version."""
    header = response.headers.get("PAYMENT-RESPONSE") or response.headers["X-PAYMENT-RESPONSE"]
    return decode_payment_response_header(header)


def token_account(owner: str, mint: Pubkey) -> str:
    """The associated token account of `owner` for one of the stand-in's mints."""
    program = TOKEN_2022_PROGRAM_ID if mint == CASH_MINT else TOKEN_PROGRAM_ID
    return str(get_associated_token_address(Pubkey.from_string(owner), mint, program))
