#!/bin/sh
# aider on Gemini: one question, in a folder of its own.
# OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is; aider calls the first OPENAI_API_BASE.
set -eu

export OPENAI_API_BASE="$OPENAI_BASE_URL"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

aider --model openai/gemini-2.5-flash --chat-mode ask \
    --no-git --no-check-update --no-show-release-notes --no-show-model-warnings --no-analytics --no-pretty \
    --message "Write a story about a magic backpack." | tee answer.txt

# aider ends with 0 whatever happens, so its answer is looked at.
grep --quiet "backpack" answer.txt
