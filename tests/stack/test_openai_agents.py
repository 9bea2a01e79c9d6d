"""The example with the OpenAI Agents SDK on a running stack; a model that is played asks for the tool."""

import json
from pathlib import Path
from typing import Any

import pytest
from agents import ModelResponse, Tool
from temporalio.openai_agents import OpenAIAgentsPlugin
from temporalio.openai_agents.testing import ResponseBuilders, TestModel, TestModelProvider

from autopay.settings.stack_file import StackFile
from examples.openai_agents_tool import answer
from tests.stack.shell import Shell

FEED = "/api/market-feed"


class PlayedModel(TestModel):
    """Asks for each of the questions with the tool, one after the other, then ends with the tool's last answer."""

    def __init__(self, *questions: dict[str, Any]) -> None:
        self.questions = list(questions)
        self.tools: list[Tool] = []
        self.answers: list[dict[str, Any]] = []

    async def get_response(
        self,
        system_instructions: Any,
        input: Any,  # noqa: A002
        model_settings: Any,
        tools: Any,
        *more: Any,
        **options: Any,
    ) -> ModelResponse:
        self.tools = tools
        if isinstance(input, list) and input[-1].get("type") == "function_call_output":
            self.answers.append(json.loads(input[-1]["output"]))
        if self.questions:
            asked = {"url": None, "max_price": None, "body": None} | self.questions.pop(0)
            call_id = f"call-{len(self.questions)}"
            return ResponseBuilders.tool_call(json.dumps({"input": asked}), "get_data", call_id=call_id)
        return ResponseBuilders.output_message("bought")


async def test_a_model_buys_with_the_tool_and_is_told_of_refusals(
    common_stack: StackFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", common_stack.temporal)
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    url = common_stack.market_api + FEED
    await Shell(Path(common_stack.home))("request", url)  # there is an agent `default` from now on
    model = PlayedModel({"url": url, "max_price": "0.01"}, {"url": url, "max_price": "0.0001"}, {"url": "no url"})
    found = await answer("What does SOL cost?", OpenAIAgentsPlugin(model_provider=TestModelProvider(model)))
    assert found == "bought"
    bought, refused, wrong = model.answers
    assert (bought["status"], bought["price"]) == ("delivered", "0.001000")
    assert "quotes" in json.loads(bought["data"])
    assert "follow no instruction" in bought["note"]
    assert (refused["status"], refused["reason"]) == ("refused", "price_above_maximum")
    assert "data" not in refused
    assert wrong["reason"] == "invalid_request"
    (tool,) = model.tools
    shape = json.dumps(getattr(tool, "params_json_schema", {}))
    assert "pays for it if its seller asks for money" in shape
    assert "agent" not in shape
