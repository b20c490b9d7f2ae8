"""Checks this folder and the configurations of docs/operations.md, each by who knows: `cargo xtask clients --manifests`.

* kubernetes.yaml by Kubernetes' own schemas, strictly: a field that they do not have is a fault (kubernetes-validate).
* cloud-run.yaml by Cloud Run's description of its API, as google-api-python-client brings it along, as strictly; its
  annotations by those that the description lists; and the pod in it by Kubernetes' schema.
* Dockerfile by hadolint.
* What is not said by any schema: that the parts of a manifest name each other.
* Configurations by the program: `vertex-chat serve --check`, `PROGRAM` in the environment.
"""

import importlib.resources
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

HERE = Path(__file__).parent
# The oldest Kubernetes whose kubelet has `preStop.sleep` without being asked for it, and the newest that is known here.
KUBERNETES = ["1.30", kubernetes_validate.latest_version()]
# What Knative has in a pod beside Kubernetes' own fields.
OF_KNATIVE = ["containerConcurrency", "timeoutSeconds"]

faults = []
# What a configuration is checked with: each variable that the examples name.
HASH = "sha256:" + "0" * 64
VARIABLES = {"SOMEBODY_KEY_HASH": HASH, "CI_KEY_HASH": HASH, "OPENAI_API_KEY": "sk-of-nobody"}


def fault(text: str) -> None:
    faults.append(text)
    print(f"FAULT: {text}")


def strictly(resource: dict, version: str, what: str) -> None:
    try:
        kubernetes_validate.validate(resource, version, strict=True)
        print(f"{what}: good by Kubernetes {version}")
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        fault(f"{what}, Kubernetes {version}: {'.'.join(map(str, getattr(error, 'path', [])))}: {error.message}")


def kubernetes() -> None:
    resources = list(yaml.safe_load_all((HERE / "kubernetes.yaml").read_text()))
    for resource in resources:
        for version in KUBERNETES:
            strictly(resource, version, f"{resource['kind']} {resource['metadata']['name']}")
    kinds = {it["kind"]: it for it in resources}
    deployment, config = kinds["Deployment"]["spec"], kinds["ConfigMap"]["data"]["gateway.toml"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    labels = deployment["template"]["metadata"]["labels"]
    for name, selector in [
        ("Deployment", deployment["selector"]["matchLabels"]),
        ("Service", kinds["Service"]["spec"]["selector"]),
        ("PodDisruptionBudget", kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
    ]:
        if not selector.items() <= labels.items():
            fault(f"{name} selects no pod of the deployment")
    if pod["serviceAccountName"] != kinds["ServiceAccount"]["metadata"]["name"]:
        fault("the pod's service account is not there")
    stated = re.search(r"drain_seconds = (\d+)", config)
    drain = int(stated[1]) if stated else 600
    if pod["terminationGracePeriodSeconds"] <= drain + container["lifecycle"]["preStop"]["sleep"]["seconds"]:
        fault("the pod is ended before it has drained")
    ports = {it["name"]: it["containerPort"] for it in container["ports"]}
    named = [container[it]["httpGet"]["port"] for it in ("readinessProbe", "livenessProbe")]
    named += [it["targetPort"] for it in kinds["Service"]["spec"]["ports"]]
    if not set(named) <= set(ports) or f":{ports['http']}\"" not in config:
        fault("ports do not agree")
    variables = {it["name"] for it in container["env"]}
    if set(re.findall(r"\$\{(\w+)\}", config)) != variables:
        fault("the configuration's variables are not those of the container")
    configuration("kubernetes.yaml", config)


def cloud_run() -> None:
    folder = importlib.resources.files("googleapiclient") / "discovery_cache/documents/run.v1.json"
    description = json.loads(folder.read_text())
    schemas = description["schemas"]

    def by(schema: dict, value: object, path: str) -> None:
        if "$ref" in schema:
            schema = schemas[schema["$ref"]]
        kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "number": (int, float)}
        kind = schema["type"]
        if not isinstance(value, kinds[kind]) or (kind == "integer" and isinstance(value, bool)):
            fault(f"cloud-run.yaml: {path}: {value!r} is no {kind}")
        elif "enum" in schema and value not in schema["enum"]:
            fault(f"cloud-run.yaml: {path}: {value!r} is none of {schema['enum']}")
        elif kind == "array":
            for number, item in enumerate(value):
                by(schema["items"], item, f"{path}[{number}]")
        elif kind == "object":
            for name, item in value.items():
                inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
                if inner is None:
                    fault(f"cloud-run.yaml: {path}: Cloud Run has no `{name}` here")
                    continue
                if inner.get("description", "").startswith("Not supported by Cloud Run"):
                    fault(f"cloud-run.yaml: {path}.{name} is not supported by Cloud Run")
                by(inner, item, f"{path}.{name}")

    service = yaml.safe_load((HERE / "cloud-run.yaml").read_text())
    before = len(faults)
    by({"$ref": "Service"}, service, "")
    # "* `run.googleapis.com/ingress`: Service, Instance."
    said = schemas["ObjectMeta"]["properties"]["annotations"]["description"]
    template = service["spec"]["template"]
    for kind, annotations in [
        ("Service", service["metadata"]["annotations"]),
        ("Revision", template["metadata"]["annotations"]),
    ]:
        for name in annotations:
            places = re.search(rf"\* `{re.escape(name)}`: ([\w, ]+)", said)
            if not places or kind not in places[1]:
                fault(f"cloud-run.yaml: no annotation `{name}` of a {kind}")
    (container,) = template["spec"]["containers"]
    (port,) = (it["containerPort"] for it in container["ports"])
    probes = [container[it]["httpGet"]["port"] for it in ("startupProbe", "livenessProbe")]
    if probes != [port, port] or f"0.0.0.0:{port}" not in container["args"]:
        fault("cloud-run.yaml: ports do not agree")
    if len(faults) == before:
        print(f"cloud-run.yaml: good by Cloud Run's API of {description['revision']}")
    pod = {name: value for name, value in template["spec"].items() if name not in OF_KNATIVE}
    # Kubernetes wants a name, Cloud Run gives one.
    pod["containers"] = [{"name": "gateway", **container}]
    strictly({"apiVersion": "v1", "kind": "Pod", "spec": pod}, KUBERNETES[-1], "the pod of cloud-run.yaml")


def dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    judged = subprocess.run([hadolint, HERE / "Dockerfile"], capture_output=True, text=True)
    print((judged.stdout + judged.stderr).strip() or "Dockerfile: good by hadolint")
    if judged.returncode:
        fault("Dockerfile")


def configuration(where: str, text: str) -> None:
    program = os.environ.get("PROGRAM")
    if not program:
        fault(f"{where}: PROGRAM is not set, so its configuration was not checked")
        return
    with tempfile.TemporaryDirectory() as folder:
        # A login of nobody, as gcloud writes it: the check looks that there is one, and asks nobody.
        login = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "x"}
        (Path(folder) / "login.json").write_text(json.dumps(login))
        (Path(folder) / "gateway.toml").write_text(text)
        judged = subprocess.run(
            [program, "serve", "--check", "--config", "gateway.toml"],
            cwd=folder,
            env={"GOOGLE_APPLICATION_CREDENTIALS": "login.json", **VARIABLES},
            capture_output=True,
            text=True,
        )
    print(f"{where}: {(judged.stdout + judged.stderr).strip()}")
    if judged.returncode:
        fault(f"the configuration of {where}")


def operations() -> None:
    page = (HERE.parent / "docs/operations.md").read_text()
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    if not blocks:
        fault("docs/operations.md has no configuration")
    for number, block in enumerate(blocks, 1):
        configuration(f"docs/operations.md, block {number}", block)


kubernetes()
cloud_run()
dockerfile()
operations()
sys.exit(f"{len(faults)} faults" if faults else 0)
