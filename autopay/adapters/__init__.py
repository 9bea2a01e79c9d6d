"""The only I/O: each adapter implements a port of the domain (`payment/ports.py`, `agent/ports.py`)."""
