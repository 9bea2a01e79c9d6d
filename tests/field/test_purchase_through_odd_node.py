"""A purchase, to its end, through a node that refuses every second question and rounds numbers beyond 64 bits."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.field.odd_node import TOO_LARGE, OddNode, http
from tests.hostile.asking import asks
from tests.hostile.scene import PRICE
from tests.hostile.town import Town
from tests.hostile.way import DELIVERED, Way

HONEST = Way(name="honest seller", does="delivers what is paid for", plain=asks(), ends=(DELIVERED,), moves=PRICE)


def rounded(question: dict[str, Any], result: Any) -> bytes:
    """The honest answer, as a provider's JavaScript passes it on."""
    body = json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result})
    return http(body.replace(str(2**64 - 1), str(TOO_LARGE)))


class RefusesEverySecond:
    """Every second question is one too many, and said to be with a code of the provider's own, in a 200."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, question: dict[str, Any], result: Any) -> bytes:
        self.asked += 1
        if self.asked % 2:
            return rounded(question, result)
        error = {"code": -32429, "message": "rate limit exceeded"}
        return http(json.dumps({"jsonrpc": "2.0", "id": question["id"], "error": error}))


async def test_it_is_delivered_and_paid_once(tmp_path: Path, database_url: str) -> None:
    quirk = RefusesEverySecond()

    @contextlib.asynccontextmanager
    async def odd(rpc_url: str) -> AsyncIterator[str]:
        async with OddNode(quirk, spares_genesis=False, upstream=rpc_url).open() as node:
            yield node.url

    async with Town(tmp_path, database_url, [HONEST], odd) as town:
        outcome = await town.try_way(HONEST)
        assert [each.status for each in outcome.results] == ["delivered"], outcome.results
        assert (outcome.moved, outcome.signed, outcome.unsettled) == (PRICE, 1, 0)
        assert [row.status for row in outcome.rows] == ["VERIFIED"]
    assert quirk.asked > 10
