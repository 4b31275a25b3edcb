"""Reads the shape of a model from a Hugging Face `config.json`, and finds what no model here has.

Keys that are missing mean what transformers takes for them; a default that differs between its versions is followed
as the latest has it.
"""

from collections.abc import Mapping
from typing import Any

from bittygpt.core import ModelConfig
from bittygpt.layouts.huggingface import HIDDEN_ACTIVATIONS

ACTIVATIONS = {theirs: ours for ours, theirs in HIDDEN_ACTIVATIONS.items()}
# our key: theirs, and what it is where it is missing in a config of Llama's and of Qwen3's
KEYS: dict[str, tuple[str, Any, Any]] = {
    "vocab_size": ("vocab_size", 32_000, 151_936),
    "d_model": ("hidden_size", 4096, 4096),
    "num_layers": ("num_hidden_layers", 32, 32),
    "num_heads": ("num_attention_heads", 32, 32),
    "num_kv_heads": ("num_key_value_heads", None, 32),
    "d_ff": ("intermediate_size", 11_008, 22_016),
    "activation": ("hidden_act", "silu", "silu"),
    "context_length": ("max_position_embeddings", 2048, 32_768),
    "norm_eps": ("rms_norm_eps", 1e-6, 1e-6),
    "tie_embeddings": ("tie_word_embeddings", False, False),
}
COUNTS = ("vocab_size", "d_model", "num_layers", "num_heads", "num_kv_heads", "d_ff", "context_length")
DEFAULT_THETA = 10_000.0
# what changes the arithmetic, and what it must be for the arithmetic to be ours
MUST_BE = {
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "quantization_config": (None,),
    "partial_rotary_factor": (1, None),
}


def read_model_config(values: Mapping[str, Any]) -> tuple[ModelConfig | None, list[str]]:
    """The model of a config, and all that is wrong with it, by their keys; None if it has no shape."""
    kind = values.get("model_type")
    if kind not in ("llama", "qwen3"):
        return None, [f"model_type is {kind!r}, and llama and qwen3 alone can be read"]
    faults = [
        f"{key} is {values[key]!r}, and no model here has that"
        for key, allowed in MUST_BE.items()
        if values.get(key) is not None and values[key] not in allowed
    ]
    if any(layer != "full_attention" for layer in values.get("layer_types") or ()):
        faults.append("layer_types has layers without full attention, and no model here has those")
    found = {ours: values.get(theirs, default[kind == "qwen3"]) for ours, (theirs, *default) in KEYS.items()}
    found["num_kv_heads"] = found["num_kv_heads"] or found["num_heads"]
    if found["activation"] not in ACTIVATIONS:
        faults.append(
            f"hidden_act is {found['activation']!r}, and of gates there are here {', '.join(ACTIVATIONS)}"
        )
    found["activation"] = ACTIVATIONS.get(found["activation"], found["activation"])
    found["rope_theta"], rope_faults = _theta(values)
    counts = [KEYS[key][0] for key, value in found.items() if key in COUNTS and not _is_count(value)]
    if counts:
        return None, [*faults, *rope_faults, *(f"{key} is {values.get(key)!r}" for key in counts)]
    head_dim = values.get("head_dim") or (
        128 if kind == "qwen3" and "head_dim" not in values else found["d_model"] // found["num_heads"]
    )
    if head_dim * found["num_heads"] != found["d_model"]:
        faults.append(
            f"head_dim is {head_dim}{'' if 'head_dim' in values else ' (it is missing)'}, and here it is hidden_size / "
            f"num_attention_heads, {found['d_model'] / found['num_heads']:g}"
        )
    return ModelConfig(**found, qk_norm=kind == "qwen3"), [*faults, *rope_faults]


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _theta(values: Mapping[str, Any]) -> tuple[float, list[str]]:
    """RoPE's base, and what is wrong: version 4 of transformers wrote it at the top, version 5 in `rope_parameters`."""
    faults = []
    for key in ("rope_scaling", "rope_parameters"):
        rope = values.get(key) or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            faults.append(f"{key} scales RoPE ({kind}), and no model here does")
        if rope.get("partial_rotary_factor", 1) != 1:
            faults.append(f"{key} rotates a part of the features alone, and no model here does")
    outer, inner = values.get("rope_theta"), (values.get("rope_parameters") or {}).get("rope_theta")
    if outer is not None and inner is not None and outer != inner:
        faults.append(f"rope_theta is {outer:g}, but rope_parameters.rope_theta {inner:g}")
    theta = inner if inner is not None else outer
    return float(DEFAULT_THETA if theta is None else theta), faults


def differences(theirs: ModelConfig, ours: ModelConfig) -> list[str]:
    """Where the two are not the same model, by our keys and theirs; any context length will do."""
    free = {"context_length", "vocab_size", "qk_norm"}
    found = []
    for key, there in vars(theirs).items():
        here = getattr(ours, key)
        if key == "num_kv_heads":
            here = here or ours.num_heads
        elif key == "d_ff":
            here = ours.feed_forward_width
        if key not in free and there != here:
            name = "rope_theta" if key == "rope_theta" else KEYS[key][0]
            found.append(f"{name} is {there} there, and model.{key} is {here} here")
    if theirs.qk_norm != ours.qk_norm:
        kind = "qwen3, with QK-norm" if theirs.qk_norm else "llama, without QK-norm"
        found.append(f"model_type is {kind}, and model.qk_norm is {str(ours.qk_norm).lower()} here")
    return found
