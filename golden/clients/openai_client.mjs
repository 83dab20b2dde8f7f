// OpenAI's own client for Node against `medley serve`: node openai_client.mjs PACKAGES BASE_URL KEY, where PACKAGES is the
// folder that holds the package. Prints the record as JSON; the exit code says whether all held.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const [, , packages, baseURL, apiKey] = process.argv;
const require = createRequire(path.join(packages, "index.js"));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")).href);
const { VERSION: version } = require("openai/version");

const model = "smollm2-135m";
const messages = [{ role: "user", content: "Name three rivers." }];
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, unit: { enum: ["celsius", "fahrenheit"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "get_weather", strict: true, parameters } }];

function checkWeather(text) {
  const given = JSON.parse(text);
  assert.deepEqual(Object.keys(given).sort(), ["city", "unit"]);
  assert.ok(["celsius", "fahrenheit"].includes(given.unit));
}

const cases = {
  async models() {
    const list = await client.models.list();
    assert.ok(list.data.some((entry) => entry.id === model));
  },

  async chat() {
    const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 16 });
    assert.ok(answer.choices[0].message.content);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  },

  async chat_streams() {
    const asked = { model, messages, max_completion_tokens: 16, temperature: 0 };
    const whole = await client.chat.completions.create(asked);
    let text = "";
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    assert.equal(text, whole.choices[0].message.content);
  },

  async tools_are_called() {
    const asked = { model, messages, tools, tool_choice: "required", max_tokens: 200 };
    const answer = await client.chat.completions.create(asked);
    answer.choices[0].message.tool_calls.forEach((call) => checkWeather(call.function.arguments));
    const final = await client.chat.completions.stream(asked).finalChatCompletion();
    final.choices[0].message.tool_calls.forEach((call) => checkWeather(call.function.arguments));
  },

  async output_is_structured() {
    const schema = { type: "object", properties: { name: { type: "string", maxLength: 20 } }, required: ["name"] };
    const response_format = { type: "json_schema", json_schema: { name: "river", schema } };
    const answer = await client.chat.completions.create({ model, messages, response_format, max_tokens: 60 });
    assert.equal(typeof JSON.parse(answer.choices[0].message.content).name, "string");
  },

  async embeddings() {
    const answer = await client.embeddings.create({ model: "minilm", input: ["a river", "a stream"] });
    assert.equal(answer.data.length, 2);
    const length = answer.data[0].embedding.reduce((sum, x) => sum + x * x, 0);
    assert.ok(Math.abs(length - 1) < 1e-4);
  },

  async responses() {
    const first = await client.responses.create({ model, input: "Name a river.", max_output_tokens: 16 });
    assert.ok(first.output_text);
    const second = await client.responses.create({
      model, input: "Another.", previous_response_id: first.id, max_output_tokens: 16,
    });
    assert.equal(second.previous_response_id, first.id);
    let text = "";
    let last;
    const stream = await client.responses.create({ model, input: "Name a river.", max_output_tokens: 16, stream: true });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") text += event.delta;
      last = event;
    }
    assert.equal(last.response.output[0].content[0].text, text);
  },

  async errors_have_their_classes() {
    await assert.rejects(client.chat.completions.create({ model: "none", messages }), OpenAI.NotFoundError);
    const hot = client.chat.completions.create({ model, messages, temperature: 3 });
    await assert.rejects(hot, (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
    const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
    await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  },

  async a_client_that_hangs_up_ends_its_text() {
    for (let i = 0; i < 40; i++) {
      const asked = { model, messages, max_tokens: 6000, logit_bias: { 2: -100 }, stream: true };
      const stream = await client.chat.completions.create(asked);
      for await (const chunk of stream) {
        if (chunk) break;
      }
      stream.controller.abort();
    }
    const began = Date.now();
    await client.chat.completions.create({ model, messages, max_tokens: 4 });
    assert.ok(Date.now() - began < 20000);
  },
};

const record = { package: "openai (npm)", version, cases: {} };
let failed = false;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    record.cases[name] = "held";
    console.error(`    openai (npm): ${name}`);
  } catch (error) {
    record.cases[name] = String(error.stack).slice(0, 600);
    console.error(`    openai (npm): ${name} ${record.cases[name]}`);
    failed = true;
  }
}
console.log(JSON.stringify(record));
process.exit(failed ? 1 : 0);
