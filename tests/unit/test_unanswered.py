"""A call without a key, made again after it had no answer, is the same purchase."""

from autopay.transport.unanswered import KEPT_S, MOST, UnansweredCalls, asked_text


def test_the_oldest_is_taken_first_and_each_once() -> None:
    calls = UnansweredCalls(lambda: 0)
    calls.keep("a", "1")
    calls.keep("b", "2")
    calls.keep("a", "3")
    assert [calls.take("a"), calls.take("a"), calls.take("a"), calls.take("b")] == ["1", "3", None, "2"]


def test_after_a_while_a_call_is_a_new_one() -> None:
    now = [0.0]
    calls = UnansweredCalls(lambda: now[0])
    calls.keep("a", "1")
    now[0] = KEPT_S - 1
    calls.keep("a", "2")
    now[0] = KEPT_S
    assert [calls.take("a"), calls.take("a")] == ["2", None]


def test_no_more_are_kept_than_there_is_room_for() -> None:
    calls = UnansweredCalls(lambda: 0)
    for number in range(MOST + 1):
        calls.keep(str(number), str(number))
    assert (calls.take("0"), calls.take("1")) == (None, "1")


def test_what_was_asked_is_compared_without_the_number_of_the_try() -> None:
    first, again = ({"X-Stainless-Retry-Count": count, "authorization": "me"} for count in "01")
    somebody = {"authorization": "somebody else"}
    texts = [asked_text("GET", "https://shop.example", headers, None, "0.01") for headers in (first, again, somebody)]
    assert texts[0] == texts[1] != texts[2]
