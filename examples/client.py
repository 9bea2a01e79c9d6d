"""Autopay's own client, for programs that want to know more: prices, budgets, what was bought.

python examples/client.py URL [AGENT]
"""

import sys
from datetime import timedelta

import autopay

url, agent = (*sys.argv[1:], "research")[:2]

with autopay.Client(agent) as client:
    quote = client.quote(url)
    print(f"it costs {quote.price} {quote.currency}; the agent can spend {quote.spendable}")

    try:
        bought = client.fetch(url, id="example-1", max_price="0.01")
    except autopay.PurchaseRefused as refused:
        sys.exit(f"not bought, by the rule {refused.type}: {refused}")
    print(bought.json_content())
    print(f"transaction {bought.receipt.transaction}")

    again = client.fetch(url, id="example-1", max_price="0.01")
    assert again.transaction == bought.transaction  # the same id never pays twice

    for payment in client.purchases(since=timedelta(hours=1)):
        print(payment.at, payment.price, payment.currency, payment.status, payment.url)
