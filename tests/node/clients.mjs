// OpenAI's own Node library against the emulator. Argument: its folder. Environment: BASE_URL, TOKEN.

import assert from "node:assert";
import { createRequire } from "node:module";

const OpenAI = createRequire(import.meta.url)(process.argv[2]).OpenAI;
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.TOKEN, maxRetries: 0 });
const model = "google/gemini-2.5-flash";
const messages = [{ role: "user", content: "Write a story about a magic backpack." }];

const answer = await client.chat.completions.create({ model, messages });
assert.match(answer.choices[0].message.content, /found the backpack/);

let text = "";
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(text, answer.choices[0].message.content);

const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
const streamed = client.chat.completions.stream({ model, messages, tools });
const call = (await streamed.finalMessage()).tool_calls[0];
assert.deepEqual(JSON.parse(call.function.arguments), { city: "example" });

await assert.rejects(client.chat.completions.create({ model: "bare", messages }), { status: 400 });
