// OpenAI's own Node library, unmodified, through the gateway. Prints the name of every part that holds.
// Argument: its folder. Environment: OPENAI_BASE_URL, OPENAI_API_KEY.

import assert from "node:assert";
import { createRequire } from "node:module";

const OpenAI = createRequire(import.meta.url)(process.argv[2]).OpenAI;
const client = new OpenAI();
const GEMINI_2 = "gemini-2.5-flash";
const GEMINI_3 = "google/gemini-3-flash-preview";
const messages = [{ role: "user", content: "Write a story about a magic backpack." }];
const both = [{ role: "user", content: "get weather and get time, please" }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = ["get_weather", "get_time"].map((name) => ({ type: "function", function: { name, parameters } }));
const create = (body, options) => client.chat.completions.create(body, options);

const parts = {
  async chat() {
    const answer = await create({ model: GEMINI_2, messages });
    assert.match(answer.choices[0].message.content, /backpack/);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  },
  async stream() {
    const whole = (await create({ model: GEMINI_2, messages })).choices[0].message.content;
    let text = "";
    for await (const chunk of await create({ model: GEMINI_2, messages, stream: true })) {
      text += chunk.choices[0].delta.content ?? "";
    }
    assert.equal(text, whole);
  },
  async stream_usage() {
    const chunks = [];
    const stream_options = { include_usage: true };
    for await (const chunk of await create({ model: GEMINI_2, messages, stream: true, stream_options })) {
      chunks.push(chunk);
    }
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.ok(chunks.at(-1).usage.completion_tokens > 0);
    assert.ok(chunks.slice(0, -1).every((chunk) => !chunk.usage));
  },
  async tools_parallel() {
    const answer = await create({ model: GEMINI_3, messages: both, tools });
    assert.deepEqual(answer.choices[0].message.tool_calls.map((call) => call.function.name), ["get_weather", "get_time"]);
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
  },
  async tools_streamed() {
    const extra_body = { google: { stream_function_call_arguments: true } };
    const streamed = client.chat.completions.stream({ model: GEMINI_3, messages: both, tools, extra_body });
    const calls = (await streamed.finalMessage()).tool_calls;
    assert.deepEqual(calls.map((call) => call.function.name), ["get_weather", "get_time"]);
    for (const call of calls) assert.deepEqual(JSON.parse(call.function.arguments), { city: "example" });
    assert.equal((await streamed.finalChatCompletion()).choices[0].finish_reason, "tool_calls");
  },
  async tools_required_and_named() {
    const hello = [{ role: "user", content: "hello" }];
    let answer = await create({ model: GEMINI_2, messages: hello, tools, tool_choice: "required" });
    assert.ok(answer.choices[0].message.tool_calls.length > 0);
    const tool_choice = { type: "function", function: { name: "get_time" } };
    answer = await create({ model: GEMINI_2, messages: hello, tools, tool_choice });
    assert.equal(answer.choices[0].message.tool_calls[0].function.name, "get_time");
  },
  async turn_two_without_extra_content() {
    const first = (await create({ model: GEMINI_3, messages: both, tools })).choices[0].message;
    const tool_calls = first.tool_calls.map(({ id, type, function: { name, arguments: text } }) => ({
      id, type, function: { name, arguments: text },
    }));
    const results = tool_calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "21 degrees" }));
    const turn = [...both, { role: "assistant", content: null, tool_calls }, ...results];
    const second = await create({ model: GEMINI_3, messages: turn, tools });
    assert.match(second.choices[0].message.content, /21 degrees/);
  },
  async run_tools() {
    const functions = tools.map((tool) => ({
      ...tool,
      function: { ...tool.function, parse: JSON.parse, function: () => "21 degrees" },
    }));
    const runner = client.chat.completions.runTools({ model: GEMINI_3, messages: both, tools: functions });
    assert.match(await runner.finalContent(), /21 degrees/);
  },
  async structured_output() {
    const schema = { type: "object", properties: { owner: { type: "string" } }, required: ["owner"], additionalProperties: false };
    const response_format = { type: "json_schema", json_schema: { name: "backpack", schema, strict: true } };
    const answer = await client.chat.completions.parse({ model: GEMINI_2, messages, response_format });
    assert.deepEqual(Object.keys(answer.choices[0].message.parsed), ["owner"]);
  },
  async n_and_logprobs() {
    const answer = await create({ model: GEMINI_2, messages, n: 2, seed: 3 });
    assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
    const scored = await create({ model: "logprobs", messages, logprobs: true, top_logprobs: 2 });
    assert.equal(scored.choices[0].logprobs.content[0].token, "Once");
  },
  async images() {
    const url =
      "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
    const content = [{ type: "image_url", image_url: { url } }];
    assert.ok((await create({ model: GEMINI_2, messages: [{ role: "user", content }] })).choices[0].message.content);
  },
  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.ok(names.includes("google/gemini-2.5-flash"));
    assert.equal((await client.models.retrieve("google/gemini-2.5-flash")).owned_by, "google");
  },
  async errors() {
    const expected = {
      400: OpenAI.BadRequestError,
      401: OpenAI.AuthenticationError,
      403: OpenAI.PermissionDeniedError,
      404: OpenAI.NotFoundError,
      422: OpenAI.UnprocessableEntityError,
      429: OpenAI.RateLimitError,
      500: OpenAI.InternalServerError,
    };
    for (const [status, kind] of Object.entries(expected)) {
      const error = await create({ model: `status-${status}`, messages }).then(assert.fail, (error) => error);
      assert.ok(error instanceof kind, `${status}: ${error}`);
      assert.match(error.error.message, new RegExp(`^words of ${status}`));
      assert.match(error.type, /_error$/);
      assert.ok(error.requestID);
    }
    const error = await create({ model: "strict", messages, user: "x" }).then(assert.fail, (error) => error);
    assert.deepEqual([error.code, error.param], ["unsupported_parameter", "user"]);
  },
  async errors_in_streams() {
    for (const model of ["error-midway", "truncated", "cut"]) {
      let text = "";
      const read = async () => {
        for await (const chunk of await create({ model, messages, stream: true })) {
          text += chunk.choices[0].delta.content ?? "";
        }
      };
      await assert.rejects(read(), OpenAI.APIError, model);
      assert.equal(text, "Once upon", model);
    }
  },
  async retries() {
    await assert.rejects(create({ model: "always-503", messages }, { maxRetries: 5 }), { status: 503 });
    assert.equal((await create({ model: "flaky", messages })).choices[0].message.content, "Once upon");
  },
  async timeouts() {
    const options = { timeout: 500, maxRetries: 0 };
    await assert.rejects(create({ model: "silent", messages }, options), OpenAI.APIConnectionTimeoutError);
  },
  async cancelled_streams() {
    for await (const chunk of await create({ model: "endless", messages, stream: true })) {
      assert.equal(chunk.choices[0].delta.content, "Once");
      break;
    }
    const aborted = new AbortController();
    const unary = create({ model: "silent", messages }, { signal: aborted.signal });
    setTimeout(() => aborted.abort(), 100);
    await assert.rejects(unary, OpenAI.APIUserAbortError);
  },
};

for (const [name, check] of Object.entries(parts)) {
  await check();
  console.log(name);
}
