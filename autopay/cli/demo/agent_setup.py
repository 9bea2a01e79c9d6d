"""The demo's agent: its watches, its rules, and what its owner grants it.

Prices on the embedded stack: market data 0.001 USDC or 0.0012 CASH, an insight 0.002 USDC or 0.0024 CASH, an answer
0.005 USDC or 0.006 CASH.
"""

from autopay.cli.launch.launch_order import LaunchOrder
from autopay.domain.agent.spec import Rules, Watch
from autopay.domain.money import Currency, show, to_atomic
from autopay.domain.phase import Phase
from autopay.settings.stack_file import StackFile

WINDOW_S = 4
MAX_PRICE_ATOMIC = to_atomic("0.01")

FIRST_ALLOWANCE, SECOND_ALLOWANCE = to_atomic("0.015"), to_atomic("1")
"""Allowances in each currency: the first lasts for two rounds of all watches, the second for the rest of the demo."""

FRUGAL_RULES = Rules(
    thresholds={Currency.USDC: to_atomic("0.01"), Currency.CASH: to_atomic("0.012")}, max_in_flight=1, balance_every_s=2
)
"""One purchase at a time shows the order; balances are read often, so that nobody waits for the agent to notice."""

AUTO_APPROVED = to_atomic("0.003")
"""More than any watch costs, less than an answer."""


def watches(addresses: StackFile) -> tuple[Watch, ...]:
    """Both APIs, both currencies, both versions of the protocol, and a free route."""
    market, knowledge = addresses.market_api, addresses.knowledge_api
    return (
        _watch("risk", f"{knowledge}/api/ai-insights?topic=volatility", 1, Currency.USDC),
        _watch("market-v1", f"{market}/v1/api/market-feed", 2, Currency.USDC),
        _watch("market", f"{market}/api/market-feed", 4, Currency.USDC),
        _watch("fees", f"{knowledge}/api/ai-insights?topic=fees", 8, Currency.CASH),
        _watch("status", f"{market}/api/status", 3, None),
    )


def _watch(name: str, url: str, weight: float, currency: Currency | None) -> Watch:
    return Watch(
        name=name, url=url, every_s=WINDOW_S, max_price_atomic=MAX_PRICE_ATOMIC, currency=currency, weight=weight
    )


def describe_watch(watch: Watch, addresses: StackFile) -> str:
    """A watch in words."""
    api = "Market Data API" if watch.url.startswith(addresses.market_api) else "Knowledge Data API"
    path = watch.url.removeprefix(addresses.market_api).removeprefix(addresses.knowledge_api)
    if watch.currency is None:
        return f"{watch.name}, weight {watch.weight:g}: {path} of the {api}, which is free"
    version = "v1" if path.startswith("/v1/") else "v2"
    return f"{watch.name}, weight {watch.weight:g}: {path} of the {api}, x402 {version}, in {watch.currency}"


def launch_order(name: str, addresses: StackFile, allowance_atomic: int) -> LaunchOrder:
    """What the agent is launched with: its watches, and a session in each currency."""
    return LaunchOrder(
        name=name,
        phase=Phase.FULL,
        currencies=tuple(Currency),
        allowance_atomic=allowance_atomic,
        tx_limit=100,
        duration_s=3600,
        watches=watches(addresses),
        rules=FRUGAL_RULES,
    )


def allowances(allowance_atomic: int) -> str:
    """The same in each currency, in words."""
    return " and ".join(show(allowance_atomic, currency) for currency in Currency)
