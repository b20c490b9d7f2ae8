// The AI SDK on Gemini: a chat, a stream, a tool round trip, an object; with `@ai-sdk/openai-compatible`, then with
// `@ai-sdk/openai`, which has to be told to use chat completions.
//
// OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is; `@ai-sdk/openai` reads them itself.

import assert from "node:assert";

import { openai } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const gateway = createOpenAICompatible({
  name: "gateway",
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
  supportsStructuredOutputs: true,
});

for (const model of [gateway, openai.chat]) {
  // A chat.
  const { text } = await generateText({
    model: model("gemini-2.5-flash"),
    prompt: "Write a story about a magic backpack.",
  });
  console.log(text);
  assert.match(text, /backpack/);

  // A stream.
  const { textStream } = streamText({
    model: model("gemini-2.5-flash"),
    prompt: "Write a story about a magic backpack.",
  });
  let streamed = "";
  for await (const piece of textStream) {
    streamed += piece;
  }
  assert.match(streamed, /backpack/);

  // A tool, with a model that wants its thought signature back.
  const weather = {
    model: model("gemini-3-flash-preview"),
    prompt: "What is the weather in Paris?",
    stopWhen: stepCountIs(5),
    tools: {
      get_weather: tool({
        description: "The weather of a city",
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => `21 degrees and sunny in ${city}`,
      }),
    },
  };
  const answer = (await generateText(weather)).text;
  console.log(answer);
  assert.match(answer, /21/);
  assert.match(await streamText(weather).text, /21/);

  // An object.
  const { output } = await generateText({
    model: model("gemini-2.5-flash"),
    output: Output.object({ schema: z.object({ name: z.string(), steps: z.array(z.string()) }) }),
    prompt: "A recipe for lasagna.",
  });
  console.log(output);
  assert.ok(output.name && output.steps.length > 0);
}
