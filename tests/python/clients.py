"""OpenAI's own Python library against the emulator: answers, streams, tools, schemas, errors.

Environment: BASE_URL, TOKEN.
"""

import asyncio
import json
import os

import openai

MODEL = "google/gemini-2.5-flash"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def main() -> None:
    client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["TOKEN"], max_retries=0)
    question = [{"role": "user", "content": "Write a story about a magic backpack."}]

    answer = client.chat.completions.create(model=MODEL, messages=question, n=2, seed=3)
    assert len(answer.choices) == 2 and answer.choices[0].message.content != answer.choices[1].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    stream = client.chat.completions.create(model=MODEL, messages=question, seed=3, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == answer.choices[0].message.content

    with client.chat.completions.stream(model=MODEL, messages=question, tools=[TOOL]) as events:
        call = events.get_final_completion().choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "example"}

    # A turn with Gemini 3: the signature has to come back, and does when the message goes back as it came.
    newer = "google/gemini-3-flash-preview"
    first = client.chat.completions.create(model=newer, messages=question, tools=[TOOL]).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "21 degrees"}
    second = client.chat.completions.create(model=newer, messages=[*question, first, result], tools=[TOOL])
    assert "21 degrees" in second.choices[0].message.content

    schema = {"type": "object", "properties": {"z": {"type": "integer"}, "a": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = client.chat.completions.create(model=MODEL, messages=question, response_format=wanted)
    assert list(json.loads(answer.choices[0].message.content)) == ["z", "a"]

    try:
        client.chat.completions.create(model="gemini-2.5-flash", messages=question)
        raise SystemExit("a bare model name is refused")
    except openai.BadRequestError as error:
        assert error.body[0]["error"]["status"] == "INVALID_ARGUMENT", error.body
    try:
        openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="wrong").chat.completions.create(
            model=MODEL, messages=question
        )
        raise SystemExit("a wrong token is refused")
    except openai.AuthenticationError as error:
        assert error.status_code == 401

    async def concurrently() -> None:
        client = openai.AsyncOpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["TOKEN"])
        answers = await asyncio.gather(
            *(client.chat.completions.create(model=MODEL, messages=question, seed=3) for _ in range(20))
        )
        assert len({answer.id for answer in answers}) == 20
        assert {answer.choices[0].message.content for answer in answers} == {text}

    asyncio.run(concurrently())


main()
