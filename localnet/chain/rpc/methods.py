"""JSON-RPC 2.0: finds the method, checks its parameters, wraps its answer.

A method is a function that takes the node and its positional parameters; their annotations say what is accepted. A
parameter with a default may be left out or null.
"""

import inspect
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from localnet.chain.bank import Bank
from localnet.chain.blocks import Block, ChainView, Commitment
from localnet.chain.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcError,
    min_context_slot,
)
from localnet.weather.faults import WeatherState

API_VERSION = "2.3.13"  # the Agave release whose answers these resemble

logger = logging.getLogger(__name__)

Handler = Callable[..., Any]


class Node:
    """One RPC node: the chain, seen through its weather."""

    def __init__(self, bank: Bank, weather: WeatherState) -> None:
        self.bank = bank
        self.weather = weather

    @property
    def view(self) -> ChainView:
        """The chain as far as this node has seen it."""
        return ChainView(self.bank.window, self.weather.now.lag_slots)

    def block(self, commitment: Commitment, at_least: int | None = None) -> Block:
        """The block to answer from; RpcError -32016 when this node is not at slot `at_least` yet."""
        block = self.view.block(commitment)
        if at_least is not None and block.slot < at_least:
            raise min_context_slot(block.slot)
        return block


def in_context(block: Block, value: Any) -> dict[str, Any]:
    """An answer together with the slot that it holds for."""
    return {"context": {"slot": block.slot, "apiVersion": API_VERSION}, "value": value}


@dataclass(frozen=True)
class _Parameter:
    name: str
    type: TypeAdapter[Any]
    default: Any


class Methods:
    """The methods by name."""

    def __init__(self) -> None:
        self._methods: dict[str, tuple[Handler, list[_Parameter]]] = {}

    def method(self, name: str) -> Callable[[Handler], Handler]:
        """Offer a function as a method."""

        def add(handler: Handler) -> Handler:
            hints = get_type_hints(handler, include_extras=True)
            parameters = [
                _Parameter(each.name, TypeAdapter(hints[each.name]), each.default)
                for each in list(inspect.signature(handler).parameters.values())[1:]
            ]
            self._methods[name] = (handler, parameters)
            return handler

        return add

    def include(self, other: "Methods") -> None:
        """Offer another table's methods too."""
        self._methods.update(other._methods)

    def call(self, node: Node, name: str, given: list[Any]) -> Any:
        """Call a method; RpcError for an unknown name and for parameters that do not fit."""
        if name not in self._methods:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        handler, parameters = self._methods[name]
        if len(given) > len(parameters):
            text = f"Invalid params: expected at most {len(parameters)} parameters, got {len(given)}"
            raise RpcError(INVALID_PARAMS, text)
        values = [*given, *[None] * (len(parameters) - len(given))]
        return handler(node, *[_read(each, value) for each, value in zip(parameters, values, strict=True)])

    def answer(self, node: Node, body: bytes) -> bytes | None:
        """The answer to a request or a batch of them; None when nothing asks for one."""
        try:
            request = json.loads(body)
        except ValueError:
            return _encode(_failure(None, RpcError(PARSE_ERROR, "Parse error")))
        if not isinstance(request, list):
            answer = self._answer_one(node, request)
            return None if answer is None else _encode(answer)
        if not request:
            return _encode(_failure(None, RpcError(INVALID_REQUEST, "Invalid Request")))
        answers = [answer for each in request if (answer := self._answer_one(node, each)) is not None]
        return _encode(answers) if answers else None

    def _answer_one(self, node: Node, request: Any) -> dict[str, Any] | None:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _failure(None, RpcError(INVALID_REQUEST, "Invalid Request"))
        number = request.get("id")
        try:
            given = request.get("params") or []
            if not isinstance(given, list):
                raise RpcError(INVALID_PARAMS, "Invalid params: expected an array")  # noqa: TRY301
            result = self.call(node, request["method"], given)
        except RpcError as error:
            answer = _failure(number, error)
        except Exception as error:
            logger.exception("%s", request["method"])
            answer = _failure(number, RpcError(INTERNAL_ERROR, f"Internal error: {error!r}"))
        else:
            answer = {"jsonrpc": "2.0", "result": result, "id": number}
        return answer if "id" in request else None


def _read(parameter: _Parameter, value: Any) -> Any:
    if value is None:
        if parameter.default is inspect.Parameter.empty:
            raise RpcError(INVALID_PARAMS, f"Invalid params: missing {parameter.name}")
        return parameter.default
    try:
        return parameter.type.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (parameter.name, *first["loc"]))
        raise RpcError(INVALID_PARAMS, f"Invalid params: {where}: {first['msg']}") from error


def _failure(number: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": error.as_json(), "id": number}


def _encode(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
