"""OpenAI's Python library on Gemini: a chat, a stream, a tool round trip, an answer in the form of a class.

OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is; the library reads them itself.
"""

import json

from openai import OpenAI
from pydantic import BaseModel

client = OpenAI()

# A chat.
completion = client.chat.completions.create(
    model="gemini-2.5-flash",
    messages=[{"role": "user", "content": "Write a story about a magic backpack."}],
)
story = completion.choices[0].message.content
print(story)
assert "backpack" in story, story

# A stream.
stream = client.chat.completions.create(
    model="gemini-2.5-flash",
    messages=[{"role": "user", "content": "Write a story about a magic backpack."}],
    stream=True,
    stream_options={"include_usage": True},
)
streamed, usage = "", None
for chunk in stream:
    if chunk.choices:
        streamed += chunk.choices[0].delta.content or ""
    usage = chunk.usage or usage
print(streamed)
assert "backpack" in streamed and usage.completion_tokens > 0, (streamed, usage)

# A tool, with a model that wants its thought signature back. The message is written anew from its fields, as many programs
# do, so whatever OpenAI's API does not know is lost on the way.
tools = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
messages = [{"role": "user", "content": "What is the weather in Paris?"}]
completion = client.chat.completions.create(model="gemini-3-flash-preview", messages=messages, tools=tools)
call = completion.choices[0].message.tool_calls[0]
assert call.function.name == "get_weather" and json.loads(call.function.arguments)["city"], call
messages += [
    {
        "role": "assistant",
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
        ],
    },
    {"role": "tool", "tool_call_id": call.id, "content": "21 degrees and sunny"},
]
completion = client.chat.completions.create(model="gemini-3-flash-preview", messages=messages, tools=tools)
answer = completion.choices[0].message.content
print(answer)
assert "21" in answer, answer


# An answer in the form of a class.
class Event(BaseModel):
    name: str
    participants: list[str]


completion = client.chat.completions.parse(
    model="gemini-2.5-flash",
    messages=[{"role": "user", "content": "Alice and Bob are going to a science fair on Friday."}],
    response_format=Event,
)
event = completion.choices[0].message.parsed
print(event)
assert event.name and event.participants, event
