"""OpenAI's own Python library, unmodified, through the gateway. Prints the name of every part that holds.

Arguments: nothing for all parts, `session` for one of 70 minutes. Environment: OPENAI_BASE_URL, OPENAI_API_KEY.
"""

import asyncio
import json
import sys

import openai
from pydantic import BaseModel

GEMINI_2 = "gemini-2.5-flash"
GEMINI_3 = "google/gemini-3-flash-preview"
STORY = [{"role": "user", "content": "Write a story about a magic backpack."}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5Er"
    "kJggg=="
)


def tool(name):
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("get_weather"), tool("get_time")]
BOTH = [{"role": "user", "content": "get weather and get time, please"}]

client = openai.OpenAI()
PARTS = []


def part(function):
    PARTS.append(function)
    return function


@part
def chat():
    answer = client.chat.completions.create(model=GEMINI_2, messages=STORY, temperature=0.2, max_tokens=4000)
    assert "backpack" in answer.choices[0].message.content
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer.choices[0].finish_reason == "stop" and answer.object == "chat.completion"


@part
def raw_headers():
    raw = client.chat.completions.with_raw_response.create(
        model=GEMINI_2, messages=STORY, user="somebody", extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-vertex-chat-dropped"] == "user"
    assert raw.headers["x-vertex-chat-target"] == "vertex@us-central1"
    assert int(raw.headers["x-vertex-chat-overhead-us"]) < 1_000_000


@part
def stream():
    whole = client.chat.completions.create(model=GEMINI_2, messages=STORY).choices[0].message.content
    roles, text, finish = [], "", []
    for chunk in client.chat.completions.create(model=GEMINI_2, messages=STORY, stream=True):
        assert chunk.usage is None
        choice = chunk.choices[0]
        roles += [choice.delta.role] if choice.delta.role else []
        text += choice.delta.content or ""
        finish += [choice.finish_reason] if choice.finish_reason else []
    assert text == whole and roles == ["assistant"] and finish == ["stop"]


@part
def stream_usage():
    for model in (GEMINI_2, "vllm", "tgi"):
        chunks = list(
            client.chat.completions.create(
                model=model, messages=STORY, stream=True, stream_options={"include_usage": True}
            )
        )
        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True], model
        assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0


@part
def reasoning_counts():
    for stream in (False, True):
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        answer = client.chat.completions.create(model=GEMINI_2, messages=STORY, reasoning_effort="low", **options)
        usage = list(answer)[-1].usage if stream else answer.usage
        assert usage.completion_tokens_details.reasoning_tokens == 32
        assert usage.completion_tokens > 32 and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@part
def tools_parallel():
    for model in (GEMINI_2, GEMINI_3, "vllm", "tgi"):
        answer = client.chat.completions.create(model=model, messages=BOTH, tools=TOOLS)
        calls = answer.choices[0].message.tool_calls
        assert [call.function.name for call in calls] == ["get_weather", "get_time"], model
        assert answer.choices[0].finish_reason == "tool_calls", model
        assert len({call.id for call in calls}) == 2, model


@part
def tools_streamed():
    extra = {"extra_body": {"google": {"stream_function_call_arguments": True}}}
    for model, body in ((GEMINI_2, None), (GEMINI_3, extra), ("vllm", None), ("tgi", None)):
        calls = {}
        finish = []
        for chunk in client.chat.completions.create(
            model=model, messages=BOTH, tools=TOOLS, stream=True, extra_body=body
        ):
            for choice in chunk.choices:
                finish += [choice.finish_reason] if choice.finish_reason else []
                for call in choice.delta.tool_calls or []:
                    whole = calls.setdefault(call.index, ["", "", ""])
                    whole[0] += call.id or ""
                    whole[1] += call.function.name or ""
                    whole[2] += call.function.arguments or ""
        assert sorted(calls) == [0, 1], model
        assert [calls[i][1] for i in (0, 1)] == ["get_weather", "get_time"], model
        assert all(json.loads(call[2]) == {"city": "example"} for call in calls.values()), model
        assert finish == ["tool_calls"], model
        with client.chat.completions.stream(model=model, messages=BOTH, tools=TOOLS, extra_body=body) as events:
            message = events.get_final_completion().choices[0].message
        assert [call.function.name for call in message.tool_calls] == ["get_weather", "get_time"], model


@part
def tools_required_and_named():
    hello = [{"role": "user", "content": "hello"}]
    answer = client.chat.completions.create(model=GEMINI_2, messages=hello, tools=TOOLS, tool_choice="required")
    assert answer.choices[0].message.tool_calls
    named = {"type": "function", "function": {"name": "get_time"}}
    answer = client.chat.completions.create(model=GEMINI_2, messages=hello, tools=TOOLS, tool_choice=named)
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["get_time"]
    answer = client.chat.completions.create(model=GEMINI_2, messages=BOTH, tools=TOOLS, tool_choice="none")
    assert not answer.choices[0].message.tool_calls


@part
def turn_two_without_extra_content():
    """What most frameworks keep of a call: id, name and arguments. The signature travels in the id."""
    for stream in (False, True):
        if stream:
            with client.chat.completions.stream(model=GEMINI_3, messages=BOTH, tools=TOOLS) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(model=GEMINI_3, messages=BOTH, tools=TOOLS).choices[0].message
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "21 degrees"} for call in calls]
        messages = [*BOTH, {"role": "assistant", "tool_calls": calls}, *results]
        for model in (GEMINI_3, GEMINI_2, "vllm"):
            answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
            assert "21 degrees" in answer.choices[0].message.content, model
        # Lost altogether: Google's value for that.
        for call, result in zip(calls, results):
            call["id"] = result["tool_call_id"] = call["id"].split("__")[0]
        answer = client.chat.completions.create(model=GEMINI_3, messages=messages, tools=TOOLS)
        assert "21 degrees" in answer.choices[0].message.content


class Backpack(BaseModel):
    owner: str
    pockets: int


@part
def structured_output():
    for model in (GEMINI_2, "tgi"):
        answer = client.chat.completions.parse(model=model, messages=STORY, response_format=Backpack)
        assert isinstance(answer.choices[0].message.parsed, Backpack), model
    with client.chat.completions.stream(model=GEMINI_2, messages=STORY, response_format=Backpack) as events:
        final = events.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Backpack)
    answer = client.chat.completions.parse(
        model=GEMINI_2, messages=BOTH, tools=[openai.pydantic_function_tool(Backpack, name="get_weather")]
    )
    assert isinstance(answer.choices[0].message.tool_calls[0].function.parsed_arguments, Backpack)


@part
def n_and_logprobs():
    answer = client.chat.completions.create(model=GEMINI_2, messages=STORY, n=2, seed=3)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].message.content != answer.choices[1].message.content
    texts = ["", ""]
    for chunk in client.chat.completions.create(model=GEMINI_2, messages=STORY, n=2, seed=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in answer.choices]
    answer = client.chat.completions.create(model="logprobs", messages=STORY, logprobs=True, top_logprobs=2)
    token = answer.choices[0].logprobs.content[0]
    assert token.token == "Once" and len(token.top_logprobs) == 2


@part
def images():
    content = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    answer = client.chat.completions.create(model=GEMINI_2, messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content
    only = client.chat.completions.with_raw_response.create(
        model=GEMINI_2, messages=[{"role": "user", "content": content[1:]}]
    )
    assert only.headers["x-vertex-chat-rewritten"] == "image-needs-text"


@part
def models():
    names = [model.id for model in client.models.list()]
    assert "google/gemini-2.5-flash" in names and "vllm" in names
    assert client.models.retrieve("google/gemini-2.5-flash").owned_by == "google"
    try:
        client.models.retrieve("nobody-has-this")
        raise SystemExit("a model that nobody has")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found" and error.param == "model"


@part
def errors():
    expected = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        422: openai.UnprocessableEntityError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
        503: openai.InternalServerError,
    }
    for status, exception in expected.items():
        try:
            client.chat.completions.create(model=f"status-{status}", messages=STORY)
            raise SystemExit(f"{status} is an error")
        except exception as error:
            assert type(error) is exception, (status, error)
            assert error.status_code == status and error.body["message"].startswith(f"words of {status}"), error.body
            assert error.type.endswith("_error") and error.code, (status, error.body)
            assert error.request_id
    try:
        client.chat.completions.create(model=GEMINI_2, messages=STORY, temperature=9)
        raise SystemExit("a temperature of 9")
    except openai.BadRequestError as error:
        assert error.param == "temperature" and error.type == "invalid_request_error", error.body
    try:
        client.chat.completions.create(model="strict", messages=STORY, user="x")
        raise SystemExit("a parameter that is not taken")
    except openai.BadRequestError as error:
        assert error.param == "user" and error.code == "unsupported_parameter", error.body
    try:
        client.embeddings.create(model="x", input="y")
        raise SystemExit("no embeddings here")
    except openai.NotFoundError as error:
        assert error.code == "unknown_url"


@part
def errors_in_streams():
    for model, word in (("error-first", "words of 429"), ("status-404", "words of 404")):
        try:
            client.chat.completions.create(model=model, messages=STORY, stream=True)
            raise SystemExit(f"{model} is an error before the stream")
        except openai.APIStatusError as error:
            assert error.body["message"].startswith(word), error.body
    for model in ("error-midway", "truncated", "cut"):
        text = ""
        try:
            for chunk in client.chat.completions.create(model=model, messages=STORY, stream=True):
                text += chunk.choices[0].delta.content or ""
            raise SystemExit(f"{model} is no whole answer")
        except openai.APIError as error:
            assert text == "Once upon", (model, text)
            assert error.body["message"], model


@part
def retries():
    """The gateway has tried already, so the library does not multiply its tries."""
    try:
        client.with_options(max_retries=5).chat.completions.create(model="always-503", messages=STORY)
        raise SystemExit("it is always 503")
    except openai.InternalServerError as error:
        assert error.response.headers["x-should-retry"] == "false"
    answer = client.chat.completions.create(model="flaky", messages=STORY)
    assert answer.choices[0].message.content == "Once upon"


@part
def timeouts():
    for stream in (False, True):
        try:
            client.with_options(timeout=0.5, max_retries=0).chat.completions.create(
                model="silent", messages=STORY, stream=stream
            )
            raise SystemExit("nobody answers")
        except openai.APITimeoutError:
            pass


@part
def cancelled_streams():
    for _ in range(3):
        with client.chat.completions.create(model="endless", messages=STORY, stream=True) as chunks:
            assert next(iter(chunks)).choices[0].delta.content == "Once"


@part
def concurrent_and_async():
    async def run():
        asynchronous = openai.AsyncOpenAI()
        ask = lambda i: asynchronous.chat.completions.create(model=GEMINI_2, messages=STORY, seed=i)
        answers = await asyncio.gather(*(ask(i) for i in range(50)))
        assert all("backpack" in answer.choices[0].message.content for answer in answers)
        stream = await asynchronous.chat.completions.create(model=GEMINI_3, messages=STORY, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    asyncio.run(run())


def session():
    """A chat for every line on stdin: the test moves its clocks in between."""
    print("ready", flush=True)
    messages = [*BOTH]
    for line in sys.stdin:
        answer = client.chat.completions.create(model=GEMINI_3, messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        messages.append({"role": "assistant", "content": message.content or "…"})
        messages.append({"role": "user", "content": f"minute {line.strip()}"})
        print(f"answered {line.strip()}", flush=True)


if sys.argv[1:] == ["session"]:
    session()
else:
    for function in PARTS:
        function()
        print(function.__name__, flush=True)
