"""Checks of the Solana node: whose chain it has, what it answers, keeps and allows, and the currencies there."""

import asyncio
from typing import Any

from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID

from autopay.adapters.solana.account_feed import try_subscription
from autopay.adapters.solana.answers import Answer
from autopay.adapters.solana.rpc import NodeError
from autopay.cli.doctor.parts import Parts
from autopay.cli.doctor.results import Observation, failed, unknown, warning, well, worst
from autopay.domain.errors import ChainUnavailable, WrongNetwork
from autopay.domain.money import DECIMALS
from autopay.domain.network import usdc_mint
from autopay.domain.text.times import span

BURST = 10
"""Questions at once: a payment has some five, and payments come side by side."""

SHORT_HISTORY_S, TOO_SHORT_HISTORY_S = 2 * 86_400, 600
"""Days that a payment's fate is asked for when a worker was away over a weekend, and what any payment needs: that it is
dead is proven by the history of all its blocks."""

METHOD_NOT_FOUND = -32601
NOBODY = str(Pubkey.default())
SIGNATURE = "1" * 64
"""Of no transaction."""

NO_TRANSACTION = "AA=="
"""What no node can decode, and so not send."""

METHODS: dict[str, tuple[Any, ...]] = {
    "getAccountInfo": (NOBODY, {"encoding": "base64"}),
    "getBalance": (NOBODY,),
    "getBlockHeight": ({"commitment": "finalized"},),
    "getEpochInfo": ({"commitment": "finalized"},),
    "getFirstAvailableBlock": (),
    "getLatestBlockhash": ({"commitment": "confirmed"},),
    "getMinimumBalanceForRentExemption": (165,),
    "getSignatureStatuses": ([SIGNATURE], {"searchTransactionHistory": True}),
    "getSignaturesForAddress": (NOBODY, {"limit": 1}),
    "getTokenAccountsByOwner": (NOBODY, {"programId": str(TOKEN_2022_PROGRAM_ID)}, {"encoding": "base64"}),
    "getTransaction": (SIGNATURE, {"encoding": "base64", "maxSupportedTransactionVersion": 0}),
    "sendTransaction": (NO_TRANSACTION, {"encoding": "base64"}),
}
"""Every method that payments, sessions, anchors and reconciliations ask for, with arguments that change nothing."""

REFUSES_ANYWAY = frozenset({"sendTransaction"})
"""Methods whose arguments here are refused by every node that has them."""

ANOTHER = "name another node in AUTOPAY_SOLANA_RPC_URL"


async def look_at_node(parts: Parts) -> Observation:
    """Whether it answers, belongs to the network of AUTOPAY_NETWORK, and is up to date."""
    if parts.rpc is None:
        return unknown("AUTOPAY_SOLANA_RPC_URL is not set")
    network = parts.settings.network.value
    try:
        await parts.chain.check_network()
    except WrongNetwork as fault:
        return failed(str(fault), f"name a node of {network} in AUTOPAY_SOLANA_RPC_URL, or change AUTOPAY_NETWORK")
    except ChainUnavailable as fault:
        return failed(str(fault), "see that the node runs, and check AUTOPAY_SOLANA_RPC_URL")
    tip = await parts.chain.finalized_tip()
    version = await parts.rpc.ask_once("getVersion", answer=Answer[Any])
    health = await parts.rpc.ask_once("getHealth", answer=Answer[Any])
    release = f", version {version['solana-core']}" if isinstance(version, dict) and "solana-core" in version else ""
    seen = f"{network}{release}, final slot {tip.slot}"
    if isinstance(health, NodeError) and "behind" in health.message.lower():
        return warning(f"{seen}; it says: {health.said}", f"wait until it has caught up, or {ANOTHER}")
    return well(seen)


async def look_at_methods(parts: Parts) -> Observation:
    """Whether it offers every method that is needed."""
    answers = await asyncio.gather(
        *(parts.node.ask_once(name, *values, answer=Answer[Any]) for name, values in METHODS.items())
    )
    refused = {
        name: answer.said
        for name, answer in zip(METHODS, answers, strict=True)
        if isinstance(answer, NodeError) and not _is_too_many(answer) and _is_missing(name, answer)
    }
    if refused:
        seen = "; ".join(f"{name}: {said}" for name, said in refused.items())
        return failed(seen, f"{ANOTHER}, or another plan of it")
    return well(f"all {len(METHODS)} that are needed")


async def look_at_history(parts: Parts) -> Observation:
    """For how long it keeps blocks and transactions."""
    first, tip = await asyncio.gather(parts.chain.first_available_slot(), parts.chain.finalized_tip())
    if first <= 1:
        return well("all since the first block")
    kept_s = (tip.slot - first) * parts.settings.slot_ms / 1000
    seen = f"{span(kept_s)}, since slot {first}"
    if kept_s < TOO_SHORT_HISTORY_S:
        return failed(seen, f"{ANOTHER}: without history nobody can prove what became of a payment")
    if kept_s < SHORT_HISTORY_S:
        return warning(seen, f"{ANOTHER}: after a longer outage nobody could prove what became of a payment")
    return well(seen)


async def look_at_limits(parts: Parts) -> Observation:
    """Whether it answers as many questions at once as payments side by side ask."""
    question = ("getEpochInfo", {"commitment": "finalized"})
    answers = await asyncio.gather(*(parts.node.ask_once(*question, answer=Answer[Any]) for _ in range(BURST)))
    refused = [each for each in answers if isinstance(each, NodeError)]
    if refused:
        seen = f"{len(refused)} of {BURST} questions at once were refused: {refused[0].said}"
        return warning(seen, f"{ANOTHER}, or a larger plan: each refusal delays a payment")
    return well(f"{BURST} questions at once are answered")


async def look_at_websocket(parts: Parts) -> Observation:
    """Whether it takes subscriptions, by which agents learn of new money at once."""
    url = parts.settings.solana_ws_url
    remedy = "set AUTOPAY_SOLANA_WS_URL to the node's WebSocket; until then agents ask for their balance by and by"
    if not url:
        return warning("AUTOPAY_SOLANA_WS_URL is not set, and cannot be derived", remedy)
    try:
        await try_subscription(url, usdc_mint(parts.settings.network))
    except ChainUnavailable as fault:
        return warning(str(fault).partition(": ")[2] or str(fault), remedy)
    return well("a subscription was taken")


async def look_at_mints(parts: Parts) -> Observation:
    """Whether each currency's mint is there, and can be paid in exactly."""
    found, seen = [], []
    for currency, mint in parts.settings.mints().items():
        setting = "AUTOPAY_NETWORK and AUTOPAY_SOLANA_RPC_URL" if currency == "USDC" else "AUTOPAY_CASH_MINT"
        facts = await parts.chain.mint_facts(mint)
        if facts is None:
            found.append(failed(f"{currency}: there is no mint at {mint}", f"check {setting}"))
        elif facts.decimals != DECIMALS:
            said = f"{currency}: its mint {mint} has {facts.decimals} decimals, not {DECIMALS}"
            found.append(failed(said, f"check {setting}: it is another token's"))
        elif facts.problem is not None:
            found.append(failed(f"{currency}: {facts.problem}", f"pay in another currency, or check {setting}"))
        else:
            program = "Token-2022" if facts.program == str(TOKEN_2022_PROGRAM_ID) else "SPL Token"
            seen.append(f"{currency} ({program}, {facts.decimals} decimals)")
    return worst(found, " and ".join(seen))


def _is_missing(name: str, error: NodeError) -> bool:
    """Whether the node does not offer the method: by JSON-RPC's code, by HTTP, or by refusing what is right."""
    return error.code == METHOD_NOT_FOUND or error.code is None or name not in REFUSES_ANYWAY


def _is_too_many(error: NodeError) -> bool:
    return "429" in error.said or error.code == -32005  # its code for limits, and for being behind
