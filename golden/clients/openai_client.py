"""OpenAI's own Python client against `medley serve`: openai_client.py BASE_URL KEY."""

import base64
import json
import struct
import sys
import threading
import time
import urllib.request

import openai
from pydantic import BaseModel

from cases import case, main, refused

MODEL = "smollm2-135m"
QUESTION = [{"role": "user", "content": "Name three rivers."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
ASK_WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]


class River(BaseModel):
    name: str
    length_km: int


def check_weather(arguments):
    arguments = json.loads(arguments)
    assert set(arguments) == {"city", "unit"}, arguments
    assert isinstance(arguments["city"], str) and arguments["unit"] in ("celsius", "fahrenheit"), arguments


@case
def models(client):
    names = [model.id for model in client.models.list()]
    assert MODEL in names and "minilm" in names, names
    assert client.models.retrieve(MODEL).id == MODEL


@case
def chat(client):
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=24, temperature=0)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    again = client.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=24, temperature=0)
    assert again.choices[0].message.content == choice.message.content
    assert again.usage.prompt_tokens_details.cached_tokens > 0


@case
def chat_streams(client):
    asked = {"model": MODEL, "messages": QUESTION, "max_completion_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    text, usage = "", None
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage.completion_tokens == whole.usage.completion_tokens


@case
def choices_seeds_stops_and_logprobs(client):
    asked = {"model": MODEL, "messages": QUESTION, "max_tokens": 16}
    several = client.chat.completions.create(**asked, n=3, seed=5, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    for token in several.choices[0].logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 2
    one = client.chat.completions.create(**asked, seed=6)
    assert one.choices[0].message.content == several.choices[1].message.content
    plain = client.chat.completions.create(**asked, temperature=0).choices[0].message.content
    stop = plain[4:6]
    cut = client.chat.completions.create(**asked, temperature=0, stop=[stop]).choices[0]
    assert cut.message.content == plain[: plain.index(stop)] and cut.finish_reason == "stop"


@case
def tools_are_called(client):
    for seed in range(8):
        choice = ["required", {"type": "function", "function": {"name": "get_weather"}}][seed % 2]
        answer = client.chat.completions.create(
            model=MODEL, messages=ASK_WEATHER, tools=[WEATHER], tool_choice=choice, max_tokens=200, seed=seed
        )
        first = answer.choices[0]
        assert first.finish_reason == "tool_calls", first
        for call in first.message.tool_calls:
            assert call.function.name == "get_weather"
            check_weather(call.function.arguments)
    result = [{"role": "tool", "tool_call_id": call.id, "content": "18 degrees, sunny"} for call in first.message.tool_calls]
    messages = ASK_WEATHER + [first.message.model_dump(exclude_none=True)] + result
    answer = client.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER], tool_choice="none", max_tokens=40
    )
    assert answer.choices[0].message.content and not answer.choices[0].message.tool_calls


@case
def tools_stream(client):
    asked = {"model": MODEL, "messages": ASK_WEATHER, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 200}
    with client.chat.completions.stream(**asked, seed=3) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds and "tool_calls.function.arguments.done" in kinds, kinds
    for call in final.choices[0].message.tool_calls:
        check_weather(call.function.arguments)


@case
def output_is_structured(client):
    messages = [{"role": "user", "content": "Name a river of Europe and its length."}]
    parsed = client.chat.completions.parse(model=MODEL, messages=messages, response_format=River, max_tokens=80, temperature=0)
    assert isinstance(parsed.choices[0].message.parsed, River)
    answer = client.chat.completions.create(
        model=MODEL, messages=messages, response_format={"type": "json_object"}, max_tokens=400, temperature=0
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


@case
def completions(client):
    answer = client.completions.create(model=MODEL, prompt="The Rhine flows", max_tokens=8, echo=True, logprobs=2, temperature=0)
    choice = answer.choices[0]
    assert choice.text.startswith("The Rhine flows")
    assert choice.logprobs.token_logprobs[0] is None
    assert len(choice.logprobs.tokens) == answer.usage.total_tokens
    text = "".join(c.choices[0].text for c in client.completions.create(
        model=MODEL, prompt="The Rhine flows", max_tokens=8, echo=True, temperature=0, stream=True))
    assert text == choice.text


@case
def embeddings(client):
    texts = ["a red apple", "a crimson fruit", "the stock market"]
    answer = client.embeddings.create(model="minilm", input=texts)  # asked for in base64 by the client
    vectors = [item.embedding for item in answer.data]
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert abs(dot(vectors[0], vectors[0]) - 1) < 1e-4
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2])
    numbers = client.embeddings.create(model="minilm", input=texts[0], encoding_format="float")
    raw = client.embeddings.create(model="minilm", input=texts[0], encoding_format="base64").data[0].embedding
    decoded = struct.unpack(f"<{len(vectors[0])}f", base64.b64decode(raw))
    assert max(abs(a - b) for a, b in zip(decoded, numbers.data[0].embedding)) < 1e-6


@case
def responses(client):
    first = client.responses.create(model=MODEL, input="Name three rivers.", max_output_tokens=24, temperature=0)
    assert first.status in ("completed", "incomplete") and first.output_text
    assert client.responses.retrieve(first.id).output_text == first.output_text
    second = client.responses.create(model=MODEL, input="And one more.", previous_response_id=first.id, max_output_tokens=24)
    items = list(client.responses.input_items.list(second.id, order="asc"))
    assert len(items) == 3 and items[2].content[0].text == "And one more."
    client.responses.delete(first.id)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(first.id))


@case
def responses_stream(client):
    with client.responses.stream(model=MODEL, input="Name three rivers.", max_output_tokens=24, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response() if events[-1].type == "response.completed" else events[-1].response
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text


@case
def responses_call_tools_and_structure(client):
    tool = {"type": "function", **WEATHER["function"]}
    answer = client.responses.create(
        model=MODEL, input="What is the weather in Paris?", tools=[tool], tool_choice="required", max_output_tokens=200,
        parallel_tool_calls=False,
    )
    call = next(item for item in answer.output if item.type == "function_call")
    check_weather(call.arguments)
    after = client.responses.create(
        model=MODEL, previous_response_id=answer.id, max_output_tokens=24,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}],
    )
    assert after.output_text
    parsed = client.responses.parse(
        model=MODEL, input="Name a river and its length.", text_format=River, max_output_tokens=80, temperature=0)
    assert isinstance(parsed.output_parsed, River)


@case
def responses_run_in_the_background(client):
    begun = client.responses.create(model=MODEL, input="Tell a long story.", background=True, max_output_tokens=2000)
    assert begun.status in ("queued", "in_progress")
    assert client.responses.cancel(begun.id).status == "cancelled"
    short = client.responses.create(model=MODEL, input="Name a river.", background=True, max_output_tokens=8)
    while (short := client.responses.retrieve(short.id)).status in ("queued", "in_progress"):
        time.sleep(0.05)
    assert short.output_text


@case
def errors_have_their_classes(client):
    error = refused(openai.NotFoundError, lambda: client.chat.completions.create(model="none", messages=QUESTION))
    assert error.code == "model_not_found" and error.param == "model"
    error = refused(
        openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=3))
    assert error.param == "temperature" and error.type == "invalid_request_error"
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]
    refused(openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=picture))
    long = [{"role": "user", "content": "river " * 20000}]
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=long))
    assert error.code == "context_length_exceeded"
    stranger = openai.OpenAI(base_url=str(client.base_url), api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, lambda: stranger.models.list())


@case
def a_client_that_hangs_up_ends_its_text(client):
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Tell a very long story."}], "max_tokens": 6000,
             "logit_bias": {"2": -100}, "stream": True}
    # As many as are written at once; were they not ended, the next would wait for minutes.
    for _ in range(40):
        stream = client.chat.completions.create(**asked)
        next(iter(stream))
        stream.close()
    began = time.monotonic()
    client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=4)
    assert time.monotonic() - began < 20


@case
def many_at_once(client):
    texts = {}

    def ask(seed):
        answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=16, seed=seed)
        texts[seed] = answer.choices[0].message.content

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=16, seed=3)
    assert len(texts) == 8 and texts[3] == alone.choices[0].message.content


@case
def documents_are_ranked(client):
    body = {"model": "minilm", "query": "Where does the Rhine flow?", "top_n": 2, "documents": [
        "Bread is made of flour.", "The Rhine is a river that flows through Germany.", "A cat sleeps."]}
    request = urllib.request.Request(
        str(client.base_url) + "rerank", json.dumps(body).encode(),
        {"Authorization": f"Bearer {client.api_key}", "Content-Type": "application/json"})
    results = json.load(urllib.request.urlopen(request))["results"]
    assert len(results) == 2 and results[0]["index"] == 1, results


@case
def texts_are_said(client):
    said = {"model": "hibari", "voice": "alloy", "input": "Hello there. How are you?"}
    mp3 = client.audio.speech.create(**said).read()
    assert mp3[:3] == b"ID3" and len(mp3) > 5000, mp3[:16]
    for format, head in [("opus", b"OggS"), ("flac", b"fLaC"), ("wav", b"RIFF")]:
        sound = client.audio.speech.create(**said, response_format=format).read()
        assert sound[:4] == head, (format, sound[:16])
    began = time.monotonic()
    with client.audio.speech.with_streaming_response.create(**said, response_format="pcm", speed=1.2) as response:
        first = next(response.iter_bytes(1024))
    assert len(first) == 1024 and time.monotonic() - began < 5
    for change, param in [({"response_format": "aac"}, "response_format"), ({"voice": "nobody"}, "voice")]:
        error = refused(openai.BadRequestError, lambda: client.audio.speech.create(**{**said, **change}))
        assert error.param == param, error


@case
def tunes_are_made(client):
    body = {"prompt": "a jig in G", "seconds": 6, "seed": 7, "format": "json"}
    request = urllib.request.Request(
        str(client.base_url) + "music", json.dumps(body).encode(),
        {"Authorization": f"Bearer {client.api_key}", "Content-Type": "application/json"})
    tune = json.load(urllib.request.urlopen(request))
    assert tune["recipe"]["key"].startswith("G") and base64.b64decode(tune["midi"])[:4] == b"MThd", tune["recipe"]
    assert abs(tune["seconds"] - 6) < 0.1 and len(tune["melody"]) > 10


HELP = {
    "returns.md": b"# Returns\n\nYou can send unused goods back within 14 days. We pay the postage.\n",
    "hours.txt": b"OPENING HOURS\n\nThe shop is open from nine to five on weekdays, and closed on Sundays.\n",
}


@case
def stores_are_filled_and_searched(client):
    store = client.vector_stores.create(name="shop", metadata={"of": "the proof"})
    try:
        files = [client.files.create(file=(name, text), purpose="assistants") for name, text in HELP.items()]
        assert client.files.retrieve(files[0].id).filename == "returns.md"
        assert client.files.content(files[0].id).read() == HELP["returns.md"]
        assert files[0].id in [file.id for file in client.files.list()]
        done = client.vector_stores.files.create_and_poll(
            files[0].id, vector_store_id=store.id, attributes={"kind": "terms"})
        assert done.status == "completed" and done.attributes == {"kind": "terms"}, done
        batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=[files[1].id])
        assert batch.status == "completed" and batch.file_counts.completed == 1, batch
        sent = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("broken.pdf", b"no PDF"))
        assert sent.status == "failed" and sent.last_error, sent
        store = client.vector_stores.retrieve(store.id)
        assert (store.status, store.file_counts.completed, store.file_counts.failed) == ("completed", 2, 1), store
        found = client.vector_stores.search(store.id, query="When are you open?", max_num_results=1).data
        assert found[0].filename == "hours.txt" and "nine to five" in found[0].content[0].text, found
        narrow = {"type": "eq", "key": "kind", "value": "terms"}
        found = client.vector_stores.search(store.id, query="When are you open?", filters=narrow).data
        assert [one.filename for one in found] == ["returns.md"], found
        answer = client.responses.create(
            model=MODEL, input="How long may I send goods back?", max_output_tokens=60, temperature=0,
            tools=[{"type": "file_search", "vector_store_ids": [store.id]}], include=["file_search_call.results"])
        call, message = answer.output
        assert call.type == "file_search_call" and call.results[0].filename == "returns.md", call
        assert message.type == "message" and answer.output_text, message
        cited = message.content[0].annotations
        assert all(one.type == "file_citation" and one.file_id == files[0].id for one in cited), cited
        with client.responses.stream(
                model=MODEL, input="When are you open?", max_output_tokens=40, temperature=0,
                tools=[{"type": "file_search", "vector_store_ids": [store.id]}]) as stream:
            kinds = [event.type for event in stream]
        assert "response.file_search_call.completed" in kinds and kinds[-1].startswith("response."), kinds
        assert client.vector_stores.files.delete(files[0].id, vector_store_id=store.id).deleted
        assert all(client.files.delete(file.id).deleted for file in files)
        error = refused(openai.NotFoundError, lambda: client.files.retrieve(files[0].id))
        assert error.status_code == 404
    finally:
        assert client.vector_stores.delete(store.id).deleted


main("openai (Python)", openai.__version__, openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0))
