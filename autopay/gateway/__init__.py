"""The HTTP gateway: purchases for programs in any language, which have no access to ledger and Temporal.

`app.py` puts it together: the `Gate` before everything, `POST /fetch` and the other calls (`calls.py`), and the reverse
door `/p/https/host/path` (`door.py`). The client for it is `autopay.client.gateway`.
"""
