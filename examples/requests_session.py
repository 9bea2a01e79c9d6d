"""An ordinary requests program; one line makes it pay for what costs money.

python examples/requests_session.py URL [AGENT]
"""

import sys

import requests

import autopay.requests

url, agent = (*sys.argv[1:], "research")[:2]

with requests.Session() as session:
    session.mount(url, autopay.requests.Adapter(agent=agent))
    response = session.get(url, headers={"Autopay-Max-Price": "0.01"})
    response.raise_for_status()
    print(response.json())
    print(response.headers["autopay-id"], response.headers["autopay-transaction"])
