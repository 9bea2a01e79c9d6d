"""The official OpenAI client on an API that is paid by the answer, without an account and without a key.

    python examples/openai_client.py BASE_URL [AGENT]

Of the embedded stack, BASE_URL is the address of Knowledge Data and `/api`.
"""

import sys

import httpx2
import openai

import autopay.httpx2

base_url, agent = (*sys.argv[1:], "research")[:2]

client = openai.OpenAI(
    base_url=base_url,
    api_key="none",
    http_client=httpx2.Client(transport=autopay.httpx2.Transport(agent=agent, max_price="0.05")),
)
with client:
    question = "When do priority fees pay off?"
    answer = client.chat.completions.create(model="knowledge-1", messages=[{"role": "user", "content": question}])
    print(answer.choices[0].message.content)
