"""Many requests at once over one transport, each with a key of its own.

    python examples/httpx_async.py URL [AGENT]

A key is yours to choose: after a crash the same key brings the same answer, and pays no second time.
"""

import asyncio
import sys

import httpx

import autopay
import autopay.httpx

url, agent = (*sys.argv[1:], "research")[:2]


async def main() -> None:
    async with httpx.AsyncClient(transport=autopay.httpx.Transport(agent=agent)) as client:

        async def bought(day: int) -> autopay.Receipt:
            response = await client.get(url, extensions={"autopay": {"id": f"feed-{day}", "max_price": "0.01"}})
            response.raise_for_status()
            receipt: autopay.Receipt = response.extensions["autopay"]
            return receipt

        try:
            for receipt in await asyncio.gather(*map(bought, range(3))):
                print(receipt.id, receipt.price, receipt.currency, receipt.transaction)
        except autopay.httpx.PaymentRefused as refused:
            print(f"not bought, by the rule {refused.type}: {refused}")


asyncio.run(main())
