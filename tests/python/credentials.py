"""Google's library with credential files of every kind, its hosts as they are: what stands before it is a proxy.

Arguments: a folder of credential files, project, location. Environment: HTTPS_PROXY, REQUESTS_CA_BUNDLE.
"""

import pathlib
import sys

import google.auth
import google.auth.impersonated_credentials
import google.auth.jwt
import google.auth.transport.requests
import google.oauth2.service_account

folder, project, location = sys.argv[1:]
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
URL = (
    f"https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/endpoints/openapi"
    "/chat/completions"
)


def chat(name: str, credentials) -> None:
    session = google.auth.transport.requests.AuthorizedSession(credentials)
    answer = session.post(
        URL,
        json={
            "model": "google/gemini-2.5-flash",
            "messages": [{"role": "user", "content": "Write a story about a magic backpack."}],
        },
    )
    assert answer.status_code == 200, (name, answer.status_code, answer.text)
    assert "backpack" in answer.json()["choices"][0]["message"]["content"], name
    print(name)


for path in sorted(pathlib.Path(folder).glob("*.json")):
    if path.stem.startswith("node-"):
        continue
    credentials, _ = google.auth.load_credentials_from_file(str(path), scopes=SCOPES)
    chat(path.stem, credentials)

key = str(pathlib.Path(folder) / "service-account.json")
account = google.oauth2.service_account.Credentials.from_service_account_file(key)
chat("self-signed scopes", account.with_scopes(SCOPES).with_always_use_jwt_access(True))
own = google.auth.jwt.Credentials.from_service_account_file(key, audience=f"https://{location}-aiplatform.googleapis.com/")
chat("self-signed audience", own)

request = google.auth.transport.requests.Request()
source = account.with_scopes(SCOPES)
acting = google.auth.impersonated_credentials.Credentials(source, f"target@{project}.iam.gserviceaccount.com", SCOPES)
acting.refresh(request)
signature = acting.sign_bytes(b"bytes")
assert len(signature) == 256, len(signature)
print("signBlob")

token = google.auth.impersonated_credentials.IDTokenCredentials(acting, target_audience="https://example.com")
token.refresh(request)
assert google.auth.jwt.decode(token.token, verify=False)["aud"] == "https://example.com"
print("generateIdToken")

signer = google.oauth2.service_account.IDTokenCredentials.from_service_account_file(
    key, target_audience="https://example.com"
)
signer.refresh(request)
assert google.auth.jwt.decode(signer.token, verify=False)["aud"] == "https://example.com"
print("target_audience")

projects = google.auth.load_credentials_from_file(str(pathlib.Path(folder) / "url.json"), scopes=SCOPES, request=request)
assert projects[1] == project, projects
print("project of a number")
