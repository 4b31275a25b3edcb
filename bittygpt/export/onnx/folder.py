"""A folder with ONNX graphs, laid out as Hugging Face's hub has them.

onnx/model.onnx         with caches: input_ids, attention_mask, position_ids, past_key_values.N.key and .value in;
                        logits, present.N.key and .value out
onnx/model_plain.onnx   without: input_ids in, logits out
onnx/model.onnx_data    the weights of both, where they are too large for a graph
genai_config.json       for onnxruntime-genai
config.json, …          for transformers.js and Optimum, as in a folder of `--format hf`
"""

import importlib.util
from pathlib import Path
from typing import Any

from bittygpt.core import ModelConfig
from bittygpt.errors import UsageError
from bittygpt.export.huggingface.folder import config_files
from bittygpt.layouts.huggingface import HIDDEN_ACTIVATIONS

CACHED, PLAIN = Path("onnx/model.onnx"), Path("onnx/model_plain.onnx")
WEIGHTS = Path("onnx/model.onnx_data")


def check_onnx_is_installed() -> None:
    """Raise UsageError if the package that writes graphs is not there."""
    if importlib.util.find_spec("onnx") is None:
        raise UsageError(
            "--format onnx: the package onnx is not installed; install it with pip install 'bittygpt[onnx]'"
        )


def onnx_config_files(
    config: ModelConfig, end_of_text_id: int, dtype: str, sample: dict[str, Any]
) -> dict[str, Any]:
    """What runtimes want to know besides the graphs, by file name; `sample` is the config's `sample:` section."""
    files = {"genai_config.json": _genai_config(config, end_of_text_id, sample)}
    if config.activation in HIDDEN_ACTIVATIONS:  # the others have no name there
        files |= config_files(config, end_of_text_id, dtype, sample)
        # Which file to take, and of what its caches are. Left to itself, transformers.js takes an eight-bit one.
        files["config.json"]["transformers.js_config"] = {"dtype": "fp32", "kv_cache_dtype": dtype}
    return files


def _genai_config(config: ModelConfig, end_of_text_id: int, sample: dict[str, Any]) -> dict[str, Any]:
    cache = "%d.key", "%d.value"
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": str(CACHED),
        "head_size": config.d_model // config.num_heads,
        "hidden_size": config.d_model,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads or config.num_heads,
        "inputs": {
            **{name: name for name in ("input_ids", "attention_mask", "position_ids")},
            "past_key_names": f"past_key_values.{cache[0]}",
            "past_value_names": f"past_key_values.{cache[1]}",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": f"present.{cache[0]}",
            "present_value_names": f"present.{cache[1]}",
        },
    }
    greedy = sample["temperature"] == 0
    return {
        "model": {
            "type": "qwen3" if config.qk_norm else "llama",
            "vocab_size": config.vocab_size,
            "context_length": config.context_length,
            "bos_token_id": end_of_text_id,
            "eos_token_id": end_of_text_id,
            "pad_token_id": end_of_text_id,
            "decoder": decoder,
        },
        "search": {
            "do_sample": not greedy,
            "temperature": 1.0 if greedy else sample["temperature"],
            "top_k": 1 if greedy else sample["top_k"] or 0,
            "top_p": 1.0 if greedy else sample["top_p"] or 1.0,
            "repetition_penalty": sample["repetition_penalty"],
            "max_length": config.context_length,
            "past_present_share_buffer": False,
        },
    }
