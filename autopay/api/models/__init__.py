"""What the API answers with: money, agents, payments, requests and the rest, each with descriptions and examples."""
