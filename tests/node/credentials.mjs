// Google's own Node library with credential files of every kind, its hosts as they are: what stands before it is a proxy.
// Arguments: the library's folder, a folder of credential files, project, location. Environment: HTTPS_PROXY,
// NODE_EXTRA_CA_CERTS.

import assert from "node:assert";
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const [library, folder, project, location] = process.argv.slice(2);
const { GoogleAuth, IdTokenClient, Impersonated } = createRequire(import.meta.url)(library);
const scopes = "https://www.googleapis.com/auth/cloud-platform";
const url =
  `https://${location}-aiplatform.googleapis.com/v1/projects/${project}/locations/${location}/endpoints/openapi` +
  "/chat/completions";
const data = {
  model: "google/gemini-2.5-flash",
  messages: [{ role: "user", content: "Write a story about a magic backpack." }],
};

for (const file of fs.readdirSync(folder).filter((it) => it.endsWith(".json")).sort()) {
  if (file.startsWith("python-")) continue;
  const auth = new GoogleAuth({ keyFilename: path.join(folder, file), scopes });
  const answer = await auth.request({ url, method: "POST", data }).catch((error) => {
    throw new Error(`${file}: ${error.message} ${JSON.stringify(error.response?.data)}`);
  });
  assert.match(answer.data.choices[0].message.content, /backpack/);
  console.log(path.basename(file, ".json"));
}

const sourceClient = await new GoogleAuth({ keyFilename: path.join(folder, "service-account.json"), scopes }).getClient();
const acting = new Impersonated({
  sourceClient,
  targetPrincipal: `target@${project}.iam.gserviceaccount.com`,
  targetScopes: [scopes],
  lifetime: 600,
});
assert.ok((await acting.sign("bytes")).signedBlob);
console.log("signBlob");
const idToken = await new IdTokenClient({ targetAudience: "https://example.com", idTokenProvider: acting }).getRequestHeaders();
assert.ok(idToken.get("authorization").startsWith("Bearer ey"));
console.log("generateIdToken");
