"""An ordinary httpx program; one line makes it pay for what costs money.

python examples/httpx_one_line.py URL [AGENT]
"""

import sys

import httpx

import autopay.httpx

url, agent = (*sys.argv[1:], "research")[:2]

with httpx.Client(transport=autopay.httpx.Transport(agent=agent, max_price="0.01")) as client:
    response = client.get(url)
    response.raise_for_status()
    print(response.json())

receipt = response.extensions.get("autopay")  # None when it was free
if receipt is not None:
    print(f"paid {receipt.price} {receipt.currency}, transaction {receipt.transaction}")
