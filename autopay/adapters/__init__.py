"""The only I/O: each adapter implements one port of `autopay.domain.payment.ports`."""
