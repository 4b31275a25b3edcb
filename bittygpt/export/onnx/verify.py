"""Are the ONNX graphs the trained model? ONNX Runtime runs them, with caches and without.

Shapes: B batch, T positions, P positions in the cache, G key/value heads, d head dimension.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bittygpt.core import TransformerLM
from bittygpt.errors import ExportError
from bittygpt.export.comparison import (
    Verification,
    compare_logits,
    compare_tokenizer_file,
    compared_ids,
    compared_length,
    first_difference,
    greedy_start,
    greedy_text,
)
from bittygpt.export.onnx.folder import CACHED, PLAIN
from bittygpt.export.validation_text import ValidationText
from bittygpt.tokenizer.tokenizer import Tokenizer

SINGLE_STEPS = 3
PADDING = 3


def onnx_runtime_is_installed() -> bool:
    """Whether there is anything to compare with."""
    return importlib.util.find_spec("onnxruntime") is not None


@torch.inference_mode()
def verify_onnx(
    folder: Path,
    model: TransformerLM,
    tokenizer: Tokenizer,
    dtype: str,
    validation: ValidationText | None = None,
) -> Verification:
    """Compare exported graphs with the model that they were made from.

    Raises:
        ExportError: ONNX Runtime cannot run them, or logits, greedy text or ids differ.
    """
    ours = model.to("cpu").float().eval()
    try:
        plain, cached = _session(folder / PLAIN), CachedGraph(folder / CACHED)
        pairs = []
        for ids in compared_ids(ours, tokenizer, validation):
            logits = ours(ids)
            pairs.append((logits, torch.from_numpy(plain.run(["logits"], {"input_ids": ids.numpy()})[0])))
            pairs.append((logits, _in_pieces(cached, ids)))
            pairs.append((logits, _padded(cached, ids)))
        largest, kl = compare_logits(pairs, dtype)
        if dtype == "float32":  # elsewhere rounding may choose another token, and all after it differ
            prompt, count = greedy_start(ours, tokenizer)
            expected, margins = greedy_text(ours, prompt, count, tokenizer.end_of_text_id)
            first_difference(expected, _greedy(cached, prompt, len(expected)), margins)
    except ExportError:
        raise
    except Exception as error:  # whatever ONNX Runtime raises, the export is no good
        raise ExportError(f"ONNX Runtime cannot run the export: {type(error).__name__}: {error}") from error
    texts, tokens, remarks = compare_tokenizer_file(folder / "tokenizer.json", tokenizer, validation)
    return Verification(largest, kl, compared_length(ours), texts, tokens, remarks)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what fails raises; the rest is for developers
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class CachedGraph:
    """The graph with caches, and what it holds so far."""

    def __init__(self, path: Path) -> None:
        self._session = _session(path)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._empty = {
            node.name: node for node in self._session.get_inputs() if node.name.startswith("past_key_values.")
        }
        self._past: dict[str, Any] = {}
        self._mask: Tensor | None = None

    def start(self) -> None:
        """Forget all."""
        self._mask = None

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, T, V) of new ids (B, T); the mask, of all positions (B, P + T), is 0 where there is no text."""
        if self._mask is None:
            self._past = {name: self._nothing(node, len(ids)) for name, node in self._empty.items()}
        self._mask = mask
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        found = self._session.run(
            self._outputs, {name: tensor.numpy() for name, tensor in feeds.items()} | self._past
        )
        named = dict(zip(self._outputs, found, strict=True))
        self._past = {name: named[name.replace("past_key_values", "present")] for name in self._empty}
        return torch.from_numpy(named["logits"])

    @staticmethod
    def _nothing(node: Any, batch: int) -> np.ndarray[Any, Any]:
        _, heads, _, head_dim = node.shape
        return np.zeros((batch, heads, 0, head_dim), np.float16 if "float16" in node.type else np.float32)


def _in_pieces(graph: CachedGraph, ids: Tensor) -> Tensor:
    """Logits (B, T, V): a prompt at once, some tokens one by one, and the rest at once."""
    graph.start()
    length = ids.shape[1]
    first = max(1, length // 3)
    ends = sorted({*(min(length, first + step) for step in range(SINGLE_STEPS + 1)), length})
    starts = [0, *ends[:-1]]
    everything = torch.ones_like(ids)
    return torch.cat(
        [graph(ids[:, a:b], everything[:, :b]) for a, b in zip(starts, ends, strict=True)], dim=1
    )


def _padded(graph: CachedGraph, ids: Tensor) -> Tensor:
    """The same with padding in front, as batches of prompts of unequal length have it."""
    graph.start()
    padding = torch.zeros(len(ids), PADDING, dtype=torch.int64)
    mask = torch.cat([padding, torch.ones_like(ids)], dim=1)
    return graph(torch.cat([padding, ids], dim=1), mask)[:, PADDING:]


def _greedy(graph: CachedGraph, prompt: list[int], count: int) -> list[int]:
    """The likeliest token, `count` times, each worked out from the cache."""
    graph.start()
    ids, new = list(prompt), list(prompt)
    for _ in range(count):
        logits = graph(torch.tensor([new]), torch.ones(1, len(ids), dtype=torch.int64))
        new = [int(logits[0, -1].argmax())]
        ids += new
    return ids[len(prompt) :]
