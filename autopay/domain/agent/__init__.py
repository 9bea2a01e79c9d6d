"""An agent as others see it: what it is launched with, takes and returns, and answers. `state/` decides."""
