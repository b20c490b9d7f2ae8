"""LlamaIndex on Gemini: a chat, a stream, a tool round trip by an agent, an answer in the form of a class.

OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is. `OpenAILike` reads another variable, so it is given them.
"""

import asyncio
import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


def model(name: str) -> OpenAILike:
    return OpenAILike(
        model=name,
        api_base=os.environ["OPENAI_BASE_URL"],
        api_key=os.environ["OPENAI_API_KEY"],
        context_window=1_000_000,
        is_chat_model=True,
        is_function_calling_model=True,
    )


llm = model("gemini-2.5-flash")
question = [ChatMessage(role="user", content="Write a story about a magic backpack.")]

# A chat.
story = llm.chat(question).message.content
print(story)
assert "backpack" in story, story

# A stream.
streamed = "".join(piece.delta or "" for piece in llm.stream_chat(question))
print(streamed)
assert "backpack" in streamed, streamed


# A tool, called by an agent (which streams), with a model that wants its thought signature back.
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"21 degrees and sunny in {city}"


async def agent() -> str:
    agent = FunctionAgent(tools=[get_weather], llm=model("gemini-3-flash-preview"))
    return str(await agent.run("What is the weather in Paris?"))


answer = asyncio.run(agent())
print(answer)
assert "21" in answer, answer


# An answer in the form of a class.
class Song(BaseModel):
    title: str
    seconds: int


song = llm.as_structured_llm(Song).chat([ChatMessage(role="user", content="Name a song.")]).raw
print(song)
assert song.title, song
