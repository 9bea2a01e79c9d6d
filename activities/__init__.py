"""One I/O step each: call a port, return a domain value. What is decided, `autopay.domain` decides."""
