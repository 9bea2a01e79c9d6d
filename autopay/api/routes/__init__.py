"""The paths below /api. Each checks its arguments and calls one reading or one action."""
