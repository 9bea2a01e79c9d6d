"""What the transports for httpx, httpx2 and requests share: what is paid for, by which id, and how a call ends."""
