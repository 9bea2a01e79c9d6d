"""Two paid APIs, Market Data and Knowledge Data, on the official x402 SDK, v2 and v1."""
