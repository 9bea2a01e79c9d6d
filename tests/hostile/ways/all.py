"""All tables in one; the slow ways first, which wait for blockhashes to expire while the others run."""

from tests.hostile.way import Way
from tests.hostile.ways import amounts, mints, parties, payments, policies, receipts, shapes, terms, transport

WAYS: list[Way] = [
    *payments.WAYS,
    *receipts.WAYS,
    *policies.WAYS,
    *transport.WAYS,
    *mints.WAYS,
    *terms.WAYS,
    *parties.WAYS,
    *shapes.WAYS,
    *amounts.WAYS,
]
