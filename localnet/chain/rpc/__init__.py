"""The JSON-RPC interface of the chain: HTTP methods, WebSocket subscriptions, and how they show accounts and more."""
