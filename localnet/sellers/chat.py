"""Answers of the Knowledge Data API in the shapes of OpenAI's chat completions, so that its clients can buy them."""

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from localnet.sellers.knowledge import answer_to

MODEL = "knowledge-1"


class Message(BaseModel):
    """One message of a conversation; content of other kinds than text is not read."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str = Field(max_length=4_000)


class Conversation(BaseModel):
    """The body of `POST /api/chat/completions`; whatever else clients send is not looked at."""

    messages: list[Message] = Field(min_length=1, max_length=100)
    stream: bool = False


def completion(conversation: Conversation) -> dict[str, Any]:
    """The answer to the last message, as `chat.completion`."""
    text = _text(conversation)
    message = {"role": "assistant", "content": text}
    asked = sum(len(each.content.split()) for each in conversation.messages)
    said = len(text.split())
    return {
        **_head("chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


def completion_events(conversation: Conversation) -> Iterator[str]:
    """The same, word by word, as server-sent events of `chat.completion.chunk`."""
    head = _head("chat.completion.chunk")
    for delta, reason in _deltas(_text(conversation)):
        chunk = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def _deltas(text: str) -> Iterator[tuple[dict[str, str], str | None]]:
    yield {"role": "assistant", "content": ""}, None
    for word in text.split(" "):
        yield {"content": f"{word} "}, None
    yield {}, "stop"


def _text(conversation: Conversation) -> str:
    answer: str = answer_to(conversation.messages[-1].content)["answer"]
    return answer


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{secrets.token_hex(8)}", "object": kind, "created": int(time.time()), "model": MODEL}
