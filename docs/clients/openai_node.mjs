// OpenAI's Node library on Gemini: a chat, a stream, a tool round trip, an answer in the form of a zod schema.
//
// OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is; the library reads them itself.

import assert from "node:assert";

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI();

// A chat.
const completion = await client.chat.completions.create({
  model: "gemini-2.5-flash",
  messages: [{ role: "user", content: "Write a story about a magic backpack." }],
});
const story = completion.choices[0].message.content;
console.log(story);
assert.match(story, /backpack/);

// A stream.
const stream = await client.chat.completions.create({
  model: "gemini-2.5-flash",
  messages: [{ role: "user", content: "Write a story about a magic backpack." }],
  stream: true,
});
let streamed = "";
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
console.log(streamed);
assert.match(streamed, /backpack/);

// A tool, run by the library, with a model that wants its thought signature back.
const runner = client.chat.completions.runTools({
  model: "gemini-3-flash-preview",
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather of a city",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
        parse: JSON.parse,
        function: ({ city }) => `21 degrees and sunny in ${city}`,
      },
    },
  ],
});
const answer = await runner.finalContent();
console.log(answer);
assert.match(answer, /21/);

// An answer in the form of a schema.
const Event = z.object({ name: z.string(), participants: z.array(z.string()) });
const parsed = await client.chat.completions.parse({
  model: "gemini-2.5-flash",
  messages: [{ role: "user", content: "Alice and Bob are going to a science fair on Friday." }],
  response_format: zodResponseFormat(Event, "event"),
});
const event = parsed.choices[0].message.parsed;
console.log(event);
assert.ok(event.name && event.participants.length > 0);
