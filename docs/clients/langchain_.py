"""LangChain on Gemini: a chat, a stream, a tool round trip, an answer in the form of a class.

OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is; the library reads them itself.
"""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

llm = ChatOpenAI(model="gemini-2.5-flash")

# A chat.
story = llm.invoke("Write a story about a magic backpack.").content
print(story)
assert "backpack" in story, story

# A stream.
streamed = "".join(chunk.content for chunk in llm.stream("Write a story about a magic backpack."))
print(streamed)
assert "backpack" in streamed, streamed


# A tool, with a model that wants its thought signature back; LangChain's messages do not have it.
@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"21 degrees and sunny in {city}"


for streams in (False, True):
    with_tools = ChatOpenAI(model="gemini-3-flash-preview", streaming=streams).bind_tools([get_weather])
    messages = [HumanMessage("What is the weather in Paris?")]
    asked = with_tools.invoke(messages)
    messages.append(asked)
    assert asked.tool_calls, asked
    for call in asked.tool_calls:
        assert call["name"] == "get_weather" and call["args"]["city"], call
        messages.append(ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]))
    answer = with_tools.invoke(messages).content
    print(answer)
    assert "21" in answer, answer


# An answer in the form of a class.
class Joke(BaseModel):
    """A joke."""

    setup: str = Field(description="The question")
    punchline: str = Field(description="The answer")


joke = llm.with_structured_output(Joke).invoke("Tell me a joke about cats.")
print(joke)
assert joke.setup and joke.punchline, joke
