"""A small table of knowledge, looked up by topic or by question."""

import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Insight:
    """One entry; `words` are what a question may call the topic."""

    text: str
    confidence: float
    words: frozenset[str]


INSIGHTS = {
    "liquidity": Insight(
        "Spreads between venues are widest in the minutes after a large one-sided order; they close in under one.",
        0.82,
        frozenset({"liquidity", "spread", "spreads", "arbitrage", "depth", "order"}),
    ),
    "fees": Insight(
        "Priority fees pay off only while blocks are full; on a quiet chain the base fee confirms just as fast.",
        0.77,
        frozenset({"fee", "fees", "priority", "cost", "compute", "gas"}),
    ),
    "stablecoins": Insight(
        "Redeemable dollars hold their peg through arbitrage; watch the redemption queue, not the price.",
        0.74,
        frozenset({"stablecoin", "stablecoins", "usdc", "cash", "peg", "dollar"}),
    ),
    "volatility": Insight(
        "Realised volatility clusters: a calm hour is most likely followed by another calm hour.",
        0.88,
        frozenset({"volatility", "risk", "variance", "calm", "move", "moves"}),
    ),
    "agents": Insight(
        "Agents that buy data on a freshness budget spend less than those that poll on a timer.",
        0.69,
        frozenset({"agent", "agents", "autonomous", "budget", "data", "freshness"}),
    ),
}


def insight_on(topic: str) -> dict[str, Any] | None:
    """What is known about `topic`, or None."""
    insight = INSIGHTS.get(topic.strip().lower())
    if insight is None:
        return None
    return {
        "topic": topic.strip().lower(),
        "insight": insight.text,
        "confidence": insight.confidence,
        "as_of": round(time.time(), 3),
    }


def answer_to(question: str) -> dict[str, Any]:
    """The topics that share most words with `question`, best first, and what is known about the best.

    `question_sha256` is over the UTF-8 bytes of the question as they arrived.
    """
    asked = set(re.findall(r"[a-z]+", question.lower()))
    overlaps = {topic: len(asked & insight.words) for topic, insight in INSIGHTS.items()}
    topics = sorted((topic for topic, shared in overlaps.items() if shared), key=lambda topic: -overlaps[topic])
    best = INSIGHTS[topics[0]] if topics else None
    return {
        "question_sha256": hashlib.sha256(question.encode()).hexdigest(),
        "topics": topics,
        "answer": best.text if best else "Nothing is known about that.",
        "confidence": best.confidence if best else 0.0,
        "as_of": round(time.time(), 3),
    }
