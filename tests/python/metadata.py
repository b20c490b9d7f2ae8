"""Google's library with the emulator as metadata server: base URL, project and location are the arguments."""

import sys

import google.auth
import google.auth.transport.requests

base, expected, location = sys.argv[1:]
credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
assert project == expected, project
session = google.auth.transport.requests.AuthorizedSession(credentials)
answer = session.post(
    f"{base}/v1/projects/{project}/locations/{location}/endpoints/openapi/chat/completions",
    json={
        "model": "google/gemini-2.5-flash",
        "messages": [{"role": "user", "content": "Write a story about a magic backpack."}],
    },
)
answer.raise_for_status()
print(answer.json()["choices"][0]["message"]["content"])
