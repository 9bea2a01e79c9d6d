"""HTTP to sellers and facilitators in the x402 protocol."""
