"""A model as one GGUF file, which llama.cpp and all that is built on it read.

Written directly: llama.cpp's own converter knows vocabularies by their hash, and refuses one that was trained here.
The `llama` architecture rotates neighbouring pairs in RoPE, as bittygpt does; `qwen3`, for models with QK-norm, rotates
halves, as Hugging Face's layouts do (see `huggingface`).
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.errors import UsageError
from bittygpt.export.huggingface.folder import rounded
from bittygpt.export.huggingface.tokenizer import derive_merges, spelled_vocabulary
from bittygpt.layouts.huggingface import renamed_weights
from bittygpt.tokenizer.byte_level import UnderivableError, spell
from bittygpt.tokenizer.tokenizer import Tokenizer

Kind = gguf.GGMLQuantizationType
# --dtype: how matrices are stored, and the file's mark for it. Gains of norms stay float32.
KINDS = {
    "float32": (Kind.F32, gguf.LlamaFileType.ALL_F32),
    "float16": (Kind.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bfloat16": (Kind.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
BLOCK_NAMES = {
    "ln1": "attn_norm",
    "ln2": "ffn_norm",
    "attn.q_proj": "attn_q",
    "attn.k_proj": "attn_k",
    "attn.v_proj": "attn_v",
    "attn.output_proj": "attn_output",
    "attn.q_norm": "attn_q_norm",
    "attn.k_norm": "attn_k_norm",
    "ffn.w1": "ffn_gate",
    "ffn.w2": "ffn_down",
    "ffn.w3": "ffn_up",
}
OUTER_NAMES = {"token_embeddings": "token_embd", "ln_final": "output_norm", "lm_head": "output"}
NEVER_MERGED = (b"\xff", b"\xff")  # in no UTF-8 text; llama.cpp reads no vocabulary without a merge
ROWS_OF_Q8_0 = 32  # numbers that share a scale


def check_gguf_layout(config: ModelConfig) -> None:
    """Raise UsageError for a model that neither of the two architectures describes."""
    if config.activation != "swiglu":
        raise UsageError(
            f"--format gguf: llama.cpp's llama and qwen3 have swiglu and no other activation, and the model has "
            f"model.activation: {config.activation}"
        )


def write_gguf(path: Path, name: str, model: TransformerLM, tokenizer: Tokenizer, dtype: str) -> str:
    """Write the model; `dtype` is one of `KINDS`.

    A vocabulary that no other program reproduces is left out, and the return value says why; else it is empty.

    Raises:
        UsageError: a weight is too large for `dtype`.
    """
    with closing(gguf.GGUFWriter(path, "qwen3" if model.config.qk_norm else "llama")) as writer:
        reason = _fill(writer, name, model, tokenizer, dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    return reason


def _fill(writer: gguf.GGUFWriter, name: str, model: TransformerLM, tokenizer: Tokenizer, dtype: str) -> str:
    kind, mark = KINDS[dtype]
    writer.add_name(name)
    writer.add_type("model")
    writer.add_file_type(mark)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_shape(writer, model.config)
    reason = _add_tokenizer(writer, tokenizer)
    for weight_name, new, weight in renamed_weights(
        model, "blk", BLOCK_NAMES, OUTER_NAMES, halves=model.config.qk_norm
    ):
        stored, stored_as = _stored(weight_name, weight, kind)
        writer.add_tensor(new, stored, raw_dtype=stored_as)
    return reason


def _add_shape(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    """Every value is written, also those with a default: some readers have another, and say nothing."""
    head_dim = config.d_model // config.num_heads
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.feed_forward_width)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads or config.num_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(head_dim)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> str:
    """The vocabulary, or why there is none."""
    end = tokenizer.end_of_text_id
    try:
        tokens, merges = spelled_vocabulary(tokenizer), derive_merges(tokenizer) or [NEVER_MERGED]
    except UnderivableError as error:
        writer.add_tokenizer_model("none")
        return str(error)
    control, normal = int(gguf.TokenType.CONTROL), int(gguf.TokenType.NORMAL)
    special = len(tokenizer.special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")  # left out, llama.cpp splits text otherwise and says nothing
    writer.add_token_list(tokens)
    writer.add_token_types([control] * special + [normal] * (len(tokens) - special))
    writer.add_token_merges([f"{spell(left)} {spell(right)}" for left, right in merges])
    writer.add_bos_token_id(end)  # left out, both are token 11
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    return ""


def _stored(name: str, weight: Tensor, kind: Kind) -> tuple[np.ndarray[Any, Any], Kind]:
    """A weight as the file has it, and of what kind it then is."""
    numbers = weight.detach().to("cpu", torch.float32).numpy()
    if numbers.ndim == 1:
        kind = Kind.F32
    if kind == Kind.Q8_0 and numbers.shape[-1] % ROWS_OF_Q8_0:
        kind = Kind.F16  # as llama.cpp's own quantization does with such rows
    if kind == Kind.F16:
        rounded(name, weight, torch.float16)  # says it if one is too large
    return gguf.quants.quantize(numbers, kind), kind
