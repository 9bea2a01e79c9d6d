"""The commands of the command line: a folder for each group, and in it a module for each command.

`commands.py` says which module a command is in. Folders import only those before them: terminal, connect, session,
agent, launch, request, policy and ledger and gateway, operate, demo.

What is typed has to be answered quickly, so modules are imported on demand: a command's module when it is called, and
what does the work (the database, Temporal, the chain) by the function that begins it, after its checks. At the top of a
command's module stands only what its options and their checks need; longer work is a module of its own, X_steps.py. A
test looks at what is loaded (tests/unit/test_imports_on_demand.py).

Every message uses the same words. Of a payment, the money is

- *pending*: signed and perhaps sent; the chain does not show it yet (PENDING, RETRYING in the ledger),
- *confirmed*: the seller's receipt or the chain shows it, and it is not final yet (SUCCESS),
- *final*: on chain at finalized, spent for good (VERIFIED; `settled` in JSON),
- *failed*: proven not paid and never to be paid (FAILED).

A payment is *open* while it is pending or confirmed. Its content is *delivered* (stored) or *undelivered* (paid, and
the seller did not deliver).

A request is *waiting* (nothing is signed), *unresolved* (a payment is open, and there is no content yet), or has ended:
*delivered* (paid, with content), *free* (content, and no payment was asked), *fresh* (answered with content that was
bought before), *refused* (by policy, terms or a person; nothing was paid), *failed* (no content, and nothing was paid)
or *undelivered*.
"""
