"""Pydantic AI on Gemini: a chat, a stream, a tool round trip, an answer in the form of a class.

OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is; the library reads them itself.
"""

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent

# `openai-chat`, since `openai` is OpenAI's Responses API.
agent = Agent("openai-chat:gemini-2.5-flash", instructions="Be concise.")

# A chat.
story = agent.run_sync("Write a story about a magic backpack.").output
print(story)
assert "backpack" in story, story


# A stream.
async def stream() -> str:
    async with agent.run_stream("Write a story about a magic backpack.") as result:
        return "".join([piece async for piece in result.stream_text(delta=True)])


streamed = asyncio.run(stream())
print(streamed)
assert "backpack" in streamed, streamed

# A tool, with a model that wants its thought signature back.
forecaster = Agent("openai-chat:gemini-3-flash-preview")


@forecaster.tool_plain
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"21 degrees and sunny in {city}"


answer = forecaster.run_sync("What is the weather in Paris?").output
print(answer)
assert "21" in answer, answer


# An answer in the form of a class.
class City(BaseModel):
    city: str
    country: str


where = Agent("openai-chat:gemini-3-flash-preview", output_type=City)
city = where.run_sync("Where were the olympics held in 2012?").output
print(city)
assert city.city and city.country, city
