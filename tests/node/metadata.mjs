// Google's own Node library with the emulator as metadata server, and Vertex by its own name through the proxy.
// Arguments: the library's folder, project, location. Environment: GCE_METADATA_HOST, HTTPS_PROXY, NODE_EXTRA_CA_CERTS.

import assert from "node:assert";
import { createRequire } from "node:module";

const [library, expected, location] = process.argv.slice(2);
const { GoogleAuth } = createRequire(import.meta.url)(library);
const auth = new GoogleAuth({ scopes: "https://www.googleapis.com/auth/cloud-platform" });
const project = await auth.getProjectId();
assert.equal(project, expected);
const answer = await auth.request({
  url:
    `https://${location}-aiplatform.googleapis.com/v1/projects/${project}/locations/${location}/endpoints/openapi` +
    "/chat/completions",
  method: "POST",
  data: {
    model: "google/gemini-2.5-flash",
    messages: [{ role: "user", content: "Write a story about a magic backpack." }],
  },
});
console.log(answer.data.choices[0].message.content);
