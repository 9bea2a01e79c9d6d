"""Synthetic prices of three coins at two venues, and the arbitrage spread computed from them."""

import math
import random
import time
from collections.abc import Callable
from typing import Any

OPENING_USD = {"SOL": 152.0, "BTC": 97_000.0, "ETH": 3_350.0}
VENUES = ("orbit", "harbor")
VOLATILITY_PER_ROOT_SECOND = 0.0006
PREMIUM_BPS = 9.0  # standard deviation of a venue's distance from the mid price
HALF_SPREAD_BPS = {"orbit": 1.5, "harbor": 2.5}
SHORTEST_STEP_S = 0.001


class MarketFeed:
    """A random walk in time: the same seed and the same moments of asking give the same prices."""

    def __init__(self, seed: int = 402, clock: Callable[[], float] = time.time) -> None:
        self._dice = random.Random(seed)
        self._clock = clock
        self._walked_until = clock()
        self._mid_usd = dict(OPENING_USD)
        self._premium_bps = {(coin, venue): 0.0 for coin in OPENING_USD for venue in VENUES}

    def snapshot(self) -> dict[str, Any]:
        """Bid and ask of every coin at every venue now, and the best spread across them."""
        self._walk()
        quotes = [self._quote(coin, venue) for coin in OPENING_USD for venue in VENUES]
        arbitrage = [_best_spread(coin, quotes) for coin in OPENING_USD]
        return {
            "as_of": round(self._walked_until, 3),
            "quotes": quotes,
            "arbitrage": arbitrage,
            "best": max(arbitrage, key=lambda spread: spread["spread_bps"]),
        }

    def _walk(self) -> None:
        now = self._clock()
        elapsed_s = max(SHORTEST_STEP_S, now - self._walked_until)
        self._walked_until = max(now, self._walked_until)
        step = VOLATILITY_PER_ROOT_SECOND * math.sqrt(elapsed_s)
        fade = math.exp(-elapsed_s / 30)
        for coin in self._mid_usd:
            self._mid_usd[coin] *= math.exp(self._dice.gauss(0, step))
        for key, premium in self._premium_bps.items():
            shock = self._dice.gauss(0, PREMIUM_BPS * math.sqrt(1 - fade * fade))
            self._premium_bps[key] = premium * fade + shock

    def _quote(self, coin: str, venue: str) -> dict[str, Any]:
        fair = self._mid_usd[coin] * (1 + self._premium_bps[coin, venue] / 10_000)
        half = fair * HALF_SPREAD_BPS[venue] / 10_000
        return {
            "pair": f"{coin}/USD",
            "venue": venue,
            "bid": round(fair - half, 4),
            "ask": round(fair + half, 4),
        }


def _best_spread(coin: str, quotes: list[dict[str, Any]]) -> dict[str, Any]:
    """Buy at one venue's ask and sell at another's bid, where that gains most; negative when it loses money."""
    pair = f"{coin}/USD"
    offered = [quote for quote in quotes if quote["pair"] == pair]
    spreads = [
        {
            "pair": pair,
            "buy_at": buy["venue"],
            "sell_at": sell["venue"],
            "spread_bps": round((sell["bid"] - buy["ask"]) / buy["ask"] * 10_000, 3),
        }
        for buy in offered
        for sell in offered
        if buy is not sell
    ]
    return max(spreads, key=lambda spread: spread["spread_bps"])
