"""Anthropic's own Python client against `medley serve`: anthropic_client.py BASE_URL KEY."""

import sys
import time

import anthropic

from cases import case, main, refused

MODEL = "smollm2-135m"
QUESTION = [{"role": "user", "content": "Name three rivers."}]
ASKED = {"model": MODEL, "max_tokens": 24, "messages": QUESTION}
# The newest client names it no more.
GREEDY = {"extra_body": {"temperature": 0}}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}


def check_weather(given):
    assert set(given) == {"city", "unit"} and given["unit"] in ("celsius", "fahrenheit"), given


@case
def message(client):
    answer = client.messages.create(**ASKED, system="You are brief.")
    assert answer.type == "message" and answer.role == "assistant" and answer.content[0].text
    assert answer.stop_reason in ("end_turn", "max_tokens") and answer.usage.output_tokens > 0


@case
def message_streams(client):
    with client.messages.stream(**ASKED) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text and final.usage.output_tokens > 0
    kinds = [event.type for event in client.messages.create(**ASKED, stream=True)]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds


@case
def stop_sequences(client):
    plain = client.messages.create(**ASKED, **GREEDY).content[0].text
    answer = client.messages.create(**ASKED, **GREEDY, stop_sequences=[plain[4:6]])
    assert answer.stop_reason == "stop_sequence" and answer.stop_sequence == plain[4:6]


@case
def tools_are_used(client):
    asked = {"model": MODEL, "max_tokens": 200, "tools": [WEATHER],
             "messages": [{"role": "user", "content": "What is the weather in Paris?"}]}
    for choice in [{"type": "any"}, {"type": "tool", "name": "get_weather"}]:
        answer = client.messages.create(**asked, tool_choice=choice)
        assert answer.stop_reason == "tool_use", answer
        uses = [block for block in answer.content if block.type == "tool_use"]
        for use in uses:
            check_weather(use.input)
    with client.messages.stream(**asked, tool_choice={"type": "any", "disable_parallel_tool_use": True}) as stream:
        final = stream.get_final_message()
    check_weather(final.content[-1].input)
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "18 degrees"} for use in uses]
    messages = asked["messages"] + [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]},
        {"role": "user", "content": results}]
    after = client.messages.create(
        model=MODEL, max_tokens=24, tools=[WEATHER], tool_choice={"type": "none"}, messages=messages)
    assert after.content[0].type == "text"


@case
def tokens_are_counted(client):
    counted = client.messages.count_tokens(model=MODEL, messages=QUESTION)
    used = client.messages.create(**ASKED).usage
    assert counted.input_tokens == used.input_tokens + used.cache_read_input_tokens


@case
def errors_have_their_classes(client):
    refused(anthropic.NotFoundError, lambda: client.messages.create(**{**ASKED, "model": "none"}))
    refused(anthropic.BadRequestError, lambda: client.messages.create(**ASKED, extra_body={"temperature": 1.5}))
    stranger = anthropic.Anthropic(base_url=str(client.base_url), api_key="wrong", max_retries=0)
    refused(anthropic.AuthenticationError, lambda: stranger.messages.create(**ASKED))
    picture = [{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}]
    refused(anthropic.BadRequestError, lambda: client.messages.create(model=MODEL, max_tokens=8, messages=picture))


@case
def a_client_that_hangs_up_ends_its_text(client):
    for _ in range(40):
        with client.messages.stream(**{**ASKED, "max_tokens": 6000}) as stream:
            next(iter(stream))
    began = time.monotonic()
    client.messages.create(**{**ASKED, "max_tokens": 4})
    assert time.monotonic() - began < 20


main(
    "anthropic (Python)",
    anthropic.__version__,
    anthropic.Anthropic(base_url=sys.argv[1].removesuffix("/v1"), api_key=sys.argv[2], max_retries=0),
)
