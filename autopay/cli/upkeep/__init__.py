"""The command `upkeep`: what is done to the ledger by schedule."""
