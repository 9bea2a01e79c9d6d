"""What may be paid: limits, payees, addresses, and what a person must approve."""
