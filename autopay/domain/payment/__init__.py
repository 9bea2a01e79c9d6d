"""One paid request: offer, signed attempts, their fate on the chain, and the order of the steps."""
