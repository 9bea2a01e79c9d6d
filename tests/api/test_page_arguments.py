"""Addresses of the page that nobody has linked to: what means nothing is told, and never a failure of the server."""

import httpx

from tests.ledger.books import Book

MEANS_NOTHING = {
    "/payments?status=foo": 422,
    "/payments?currency=gold": 422,
    "/payments?since=soon": 422,
    "/audit?agent=%00": 422,
    "/agents/a%00b": 422,
    "/requests/a%00b/one": 422,
    "/requests/buyer/one%00": 404,
    "/requests/buyer/none": 404,
    "/sessions?after=there": 422,
}


async def test_what_means_nothing_is_told_on_the_page(api: httpx.AsyncClient, book: Book) -> None:
    answers = {path: await api.get(path, headers={"accept": "text/html"}) for path in MEANS_NOTHING}
    assert {path: answer.status_code for path, answer in answers.items()} == MEANS_NOTHING
    assert {answer.headers["content-type"] for answer in answers.values()} == {"text/html; charset=utf-8"}
