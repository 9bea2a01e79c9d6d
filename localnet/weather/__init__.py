"""Faults that a service of the embedded stack shows at run time, set over HTTP."""
