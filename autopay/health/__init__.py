"""Whether a worker or an API works: a file that is touched, and `/healthz` and `/readyz`."""
