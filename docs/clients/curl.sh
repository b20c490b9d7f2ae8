#!/bin/sh
# curl on Gemini: a chat, a stream, the list of models. OPENAI_BASE_URL and OPENAI_API_KEY say where the gateway is.
set -eu

ask() {
    curl --silent --show-error --fail-with-body --no-buffer "$OPENAI_BASE_URL/chat/completions" \
        --header "Content-Type: application/json" \
        --header "Authorization: Bearer $OPENAI_API_KEY" \
        --data "$1"
}

# A chat.
answer=$(ask '{
    "model": "gemini-2.5-flash",
    "messages": [{"role": "user", "content": "Write a story about a magic backpack."}]
}')
echo "$answer"
case $answer in
    *'"content":'*backpack*) ;;
    *) echo "no story" >&2; exit 1 ;;
esac

# A stream: an event for each piece, and [DONE].
stream=$(ask '{
    "model": "gemini-2.5-flash",
    "messages": [{"role": "user", "content": "Write a story about a magic backpack."}],
    "stream": true
}')
echo "$stream"
case $stream in
    "data: {"*backpack*"data: [DONE]") ;;
    *) echo "no stream to its end" >&2; exit 1 ;;
esac

# The models that go by name.
models=$(curl --silent --show-error --fail-with-body "$OPENAI_BASE_URL/models" \
    --header "Authorization: Bearer $OPENAI_API_KEY")
echo "$models"
case $models in
    *'"google/gemini-2.5-flash"'*) ;;
    *) echo "the list has no gemini-2.5-flash" >&2; exit 1 ;;
esac
