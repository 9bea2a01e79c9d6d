"""The methods of the WebSocket: accounts, signatures and slots.

Beyond what `pubsub.py` says, it differs from a cluster in this: an account whose bytes stay the same is not announced,
and of the node's faults (weather) only the lag and an outage are felt here.
"""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from solders.signature import Signature

from localnet.chain.blocks import DEPTH, Block, Commitment
from localnet.chain.errors import RpcError
from localnet.chain.rpc.account_json import show_account
from localnet.chain.rpc.methods import Methods
from localnet.chain.rpc.params import U64, AccountConfig, Address, Sig, SignatureWatchConfig
from localnet.chain.rpc.pubsub import WebSocketConnection

METHODS = Methods()
MAX_SLOTS_AT_ONCE = 150  # for a node that catches up
_NOBODY = Account(0, b"", Pubkey.default(), executable=False, rent_epoch=0)  # what a deleted account is shown as


@METHODS.method("accountSubscribe")
def account_subscribe(
    connection: WebSocketConnection,
    address: Address,
    config: AccountConfig = AccountConfig(),  # noqa: B008 (frozen)
) -> int:
    """The account whenever it has changed; not the state that it has now."""
    return connection.subscribe(AccountSubscription(connection, address, config))


@METHODS.method("signatureSubscribe")
def signature_subscribe(
    connection: WebSocketConnection,
    signature: Sig,
    config: SignatureWatchConfig = SignatureWatchConfig(),  # noqa: B008 (frozen)
) -> int:
    """Whether the transaction failed, once it has the commitment, now or later; then the subscription is over."""
    return connection.subscribe(SignatureSubscription(connection, signature, config))


@METHODS.method("slotSubscribe")
def slot_subscribe(connection: WebSocketConnection) -> int:
    """Every slot in which a block begins."""
    return connection.subscribe(SlotSubscription(connection))


def _unsubscribing(kind: str) -> Callable[[WebSocketConnection, int], bool]:
    @METHODS.method(f"{kind}Unsubscribe")
    def unsubscribe(connection: WebSocketConnection, number: U64) -> bool:
        """True; error -32602 when there is no such subscription."""
        return connection.unsubscribe(number, kind)

    return unsubscribe


for _kind in ("account", "signature", "slot"):
    _unsubscribing(_kind)


class AccountSubscription:
    """An account, told after each slot in which it changed."""

    kind = "account"
    over = False

    def __init__(self, connection: WebSocketConnection, address: Pubkey, config: AccountConfig) -> None:
        self.terms = (self.kind, address, config)
        self.depth = DEPTH[config.commitment]
        self._connection = connection
        self._address = address
        self._config = config
        self._told = self._changed_at(connection.complete(config.commitment))

    def news(self) -> Iterator[Any]:
        """The account, when it changed since it was told."""
        block = self._connection.complete(self._config.commitment)
        changed_at = self._changed_at(block)
        if changed_at > self._told:
            self._told = changed_at
            yield in_context(block, self._show(block))

    def _changed_at(self, block: Block) -> int:
        return self._connection.bank.versions.changed_at(block.slot, self._address)

    def _show(self, block: Block) -> dict[str, Any] | None:
        def read(address: Pubkey) -> Account | None:
            return self._connection.bank.account(address, block.slot)

        account = read(self._address) or _NOBODY
        encoding, part = self._config.encoding, self._config.data_slice
        try:
            shown = show_account(account, encoding, read, part)
        except RpcError:  # too long for base58; where nobody asked, Agave says it in the data
            text = "error: data too large for bs58 encoding"
            shown = show_account(account, "base64", read, part)
            assert shown is not None
            shown["data"] = text if encoding == "binary" else [text, encoding]
        if account is _NOBODY and shown is not None:
            shown["rentEpoch"] = 0
        return shown


class SignatureSubscription:
    """A transaction, told once when it has its commitment."""

    kind = "signature"

    def __init__(self, connection: WebSocketConnection, signature: Signature, config: SignatureWatchConfig) -> None:
        self.terms = (self.kind, signature, config)
        self.depth = DEPTH[config.commitment]
        self.over = False
        self._connection = connection
        self._signature = str(signature)
        self._commitment = config.commitment
        self._tells_receipt = config.enable_received_notification

    def news(self) -> Iterator[Any]:
        """That it was received, if asked for; how it ended, when it has."""
        landed = self._connection.bank.store.transaction(self._signature)
        if landed is None:
            return
        seen = self._connection.view.tip
        if self._tells_receipt and landed.slot <= seen.slot:
            self._tells_receipt = False
            yield in_context(seen, "receivedSignature")
        block = self._connection.complete(self._commitment)
        if landed.slot <= block.slot:
            self.over = True
            yield in_context(block, {"err": None if landed.error is None else json.loads(landed.error)})


class SlotSubscription:
    """The slots of blocks as they begin, with the slot before and the finalized one."""

    kind = "slot"
    terms = ("slot",)
    depth = 0
    over = False

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._told = connection.view.tip.slot

    def news(self) -> Iterator[Any]:
        """The slots since the last one told, at most `MAX_SLOTS_AT_ONCE`."""
        view = self._connection.view
        blocks = view.window.newest(MAX_SLOTS_AT_ONCE, view.tip)
        root = view.block(Commitment.FINALIZED).slot
        for before, block in pairwise(blocks):
            if block.slot > self._told:
                self._told = block.slot
                yield {"parent": before.slot, "root": root, "slot": block.slot}


def in_context(block: Block, value: Any) -> dict[str, Any]:
    """A notification's value with the slot that it holds for; unlike an answer, without the API version."""
    return {"context": {"slot": block.slot}, "value": value}
