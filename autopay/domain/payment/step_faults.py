"""Which faults of its steps a run of a payment tells apart, by their stable names."""

from autopay.domain.refusal import RefusalReason

OUTAGES = ("chain_unavailable", "node_behind", "ledger_unavailable", "ledger_fenced", "step_timed_out")
"""Faults of signing that pass: the request is held until they have. Nothing was recorded, so nothing can leave."""

MAYBE_NOT_SENT = ("ledger_unavailable", "step_timed_out")
"""Faults of submit that pass, and before which the bytes may or may not have left."""

UNKNOWN_REQUEST = "unknown_request"
"""The fault of a ledger that was restored and has lost what this run knows: the run then goes on from what the ledger
has. If the ledger does not have the request at all, the run ends, and the agent is told so that it can ask again."""

ORDER_DIFFERS = "order_differs"
"""The fault of a first run that was started with another request than the ledger has."""

NOT_ASKED = (RefusalReason.INSECURE_TRANSPORT, RefusalReason.ADDRESS_NOT_ALLOWED)
"""Refusals before the seller was asked; after any other it has answered 402."""
