"""A wallet in the browser that implements the Wallet Standard, and signs for real with a key that stays in Python."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from playwright.async_api import BrowserContext
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

Change = Callable[[MessageV0], MessageV0]
"""What the wallet makes of a message before it signs it."""

SCRIPT = """
(({ name, address, key, chains }) => {
  const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const account = { address, publicKey: bytes(key), chains, features: ["solana:signTransaction"] };
  const sign = async ({ transaction }) => {
    const told = JSON.parse(await window.testWalletSigns(btoa(String.fromCharCode(...transaction))));
    if (told.error) throw Object.assign(new Error(told.error.message), { code: told.error.code });
    return { signedTransaction: bytes(told.signed) };
  };
  const wallet = {
    version: "1.0.0",
    name,
    icon: "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=",
    chains,
    accounts: [],
    features: {
      "standard:connect": {
        version: "1.0.0",
        connect: async () => {
          wallet.accounts = [account];
          return { accounts: wallet.accounts };
        },
      },
      "standard:events": { version: "1.0.0", on: () => () => {} },
      "solana:signTransaction": {
        version: "1.0.0",
        supportedTransactionVersions: ["legacy", 0],
        signTransaction: (...inputs) => Promise.all(inputs.map(sign)),
      },
    },
  };
  const register = (api) => api.register(wallet);
  window.dispatchEvent(new CustomEvent("wallet-standard:register-wallet", { detail: register }));
  window.addEventListener("wallet-standard:app-ready", ({ detail: api }) => register(api));
})
"""


@dataclass
class BrowserWallet:
    """A wallet; what it does when it is asked to sign is set by the test."""

    name: str = "Test Wallet"
    key: Keypair = field(default_factory=Keypair)
    chains: Sequence[str] = ("solana:mainnet", "solana:devnet")
    change: Change | None = None
    refusal: tuple[int, str] | None = None
    asked: list[MessageV0] = field(default_factory=list)

    async def install(self, browser: BrowserContext) -> None:
        """Have every view of that browser find it."""
        facts = {
            "name": self.name,
            "address": str(self.key.pubkey()),
            "key": b64encode(bytes(self.key.pubkey())).decode(),
            "chains": list(self.chains),
        }
        await browser.expose_function("testWalletSigns", self._sign)
        await browser.add_init_script(f"{SCRIPT}({json.dumps(facts)})")

    def _sign(self, transaction: str) -> str:
        message = VersionedTransaction.from_bytes(b64decode(transaction)).message
        assert isinstance(message, MessageV0)
        self.asked.append(message)
        if self.refusal is not None:
            code, text = self.refusal
            return json.dumps({"error": {"code": code, "message": text}})
        changed = message if self.change is None else self.change(message)
        return json.dumps({"signed": b64encode(bytes(VersionedTransaction(changed, [self.key]))).decode()})


def with_instructions(before: Sequence[Instruction], after: Sequence[Instruction] = ()) -> Change:
    """A wallet that takes a message apart, adds instructions, and compiles it again."""

    def changed(message: MessageV0) -> MessageV0:
        keys, writable = message.account_keys, len(message.account_keys) - message.header.num_readonly_unsigned_accounts
        ours = [
            Instruction(
                keys[each.program_id_index],
                bytes(each.data),
                [AccountMeta(keys[index], index == 0, index < writable) for index in each.accounts],
            )
            for each in message.instructions
        ]
        return MessageV0.try_compile(keys[0], [*before, *ours, *after], [], message.recent_blockhash)

    return changed


ADDS_A_BUDGET = with_instructions([set_compute_unit_limit(80_000), set_compute_unit_price(20_000)])


def adds_a_transfer(owner: Keypair, thief: Keypair) -> Change:
    """A wallet that takes a thousandth of a SOL for somebody else."""
    taken = TransferParams(from_pubkey=owner.pubkey(), to_pubkey=thief.pubkey(), lamports=1_000_000)
    return with_instructions([], [transfer(taken)])
