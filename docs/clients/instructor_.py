"""Instructor on Gemini: answers in the form of classes, by a tool and by a JSON schema, whole and growing.

OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is; OpenAI's library reads them.
"""

import instructor
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


question = [{"role": "user", "content": "Extract: John Doe is 30 years old."}]

# By a tool, which is its usual way, and by a JSON schema.
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    client = instructor.from_provider("openai/gemini-2.5-flash", mode=mode)
    person = client.create(response_model=Person, messages=question)
    print(mode, person)
    assert person.name, person

    # Growing, as it streams.
    last = None
    for last in client.create_partial(response_model=Person, messages=question):
        pass
    print(mode, last)
    assert last.name, last
