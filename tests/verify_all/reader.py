"""One reader, one exported model: prints how far what it says is from what is right, as a line of JSON.

    python reader.py READER FOLDER hf|onnx

Runs with the reader's packages and knows no bittygpt. Each `load_…` gives three functions: logits (B, T, V) of ids
(B, T); the greedy continuation of a prompt; the ids of a text (None for one that its interface cannot take), or None
where it has no tokenizer.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Encoder = Callable[[str], list[int] | None]
Reader = tuple[Callable[[Any], Any], Callable[[list[int], int], list[int]], Encoder | None]


def greedy_of(logits: Callable[[Any], Any]) -> Callable[[list[int], int], list[int]]:
    """Greedy text by whole forward passes."""

    def greedy(prompt: list[int], count: int) -> list[int]:
        ids = list(prompt)
        for _ in range(count):
            ids.append(int(logits(np.array([ids]))[0, -1].argmax()))
        return ids[len(prompt) :]

    return greedy


def auto_tokenizer(folder: Path) -> Callable[[str], list[int]]:
    """transformers' own."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"])


def load_transformers(folder: Path) -> Reader:
    """`generate` with its cache."""
    import torch
    from transformers import AutoModelForCausalLM

    model, notes = AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype=torch.float32, output_loading_info=True
    )
    assert not any(notes.values()), notes

    def logits(ids: Any) -> Any:
        with torch.inference_mode():
            return model(torch.tensor(ids)).logits.numpy()

    def greedy(prompt: list[int], count: int) -> list[int]:
        ids = torch.tensor([prompt])
        found = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=count,
            eos_token_id=-1,
            pad_token_id=0,
        )
        return found[0, len(prompt) :].tolist()

    return logits, greedy, auto_tokenizer(folder)


def load_mlx(folder: Path) -> Reader:
    """Apple's, on whatever it runs on here."""
    import mlx.core as mx
    from mlx_lm import load

    model, tokenizer = load(str(folder))

    def logits(ids: Any) -> Any:
        return np.array(model(mx.array(ids)).astype(mx.float32))

    return logits, greedy_of(logits), lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def load_ctranslate2(folder: Path) -> Reader:
    """Its converter reads the folder, and its engine runs what that writes."""
    import ctranslate2

    converted = folder.parent / "ctranslate2"
    ctranslate2.converters.TransformersConverter(str(folder)).convert(str(converted), force=True)
    generator = ctranslate2.Generator(str(converted), device="cpu", compute_type="float32")
    vocabulary = json.loads((converted / "vocabulary.json").read_text("utf-8"))

    def logits(ids: Any) -> Any:
        return np.array(generator.forward_batch(np.asarray(ids).tolist()))

    def greedy(prompt: list[int], count: int) -> list[int]:
        (found,) = generator.generate_batch(
            [[vocabulary[i] for i in prompt]],
            max_length=count,
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=[],
        )
        return list(found.sequences_ids[0])

    return logits, greedy, auto_tokenizer(folder)


def load_openvino(folder: Path) -> Reader:
    """The plain graph for logits, the one with caches for greedy text."""
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    plain, cached = (
        core.compile_model(core.read_model(folder / f"onnx/{name}.onnx"), "CPU", options)
        for name in ("model_plain", "model")
    )
    past_names = [i.any_name for i in cached.inputs if i.any_name.startswith("past")]
    shapes = {i.any_name: i.partial_shape for i in cached.inputs}

    def logits(ids: Any) -> Any:
        return plain({"input_ids": np.asarray(ids)})["logits"]

    def greedy(prompt: list[int], count: int) -> list[int]:
        heads, width = (shapes[past_names[0]][axis].get_length() for axis in (1, 3))
        past = {name: np.zeros((1, heads, 0, width), np.float32) for name in past_names}
        ids, new = list(prompt), list(prompt)
        for _ in range(count):
            places = np.arange(len(ids) - len(new), len(ids))[None]
            mask = np.ones((1, len(ids)), np.int64)
            found = cached(
                {"input_ids": np.array([new]), "attention_mask": mask, "position_ids": places, **past}
            )
            past = {name: found[name.replace("past_key_values", "present")].copy() for name in past_names}
            new = [int(found["logits"][0, -1].argmax())]
            ids += new
        return ids[len(prompt) :]

    return logits, greedy, None


def load_genai(folder: Path) -> Reader:
    """Its own loop, its own tokenizer, our genai_config.json."""
    import onnxruntime_genai as og

    model = og.Model(str(folder))
    tokenizer = og.Tokenizer(model)

    def generator(length: int) -> Any:
        parameters = og.GeneratorParams(model)
        parameters.set_search_options(do_sample=False, max_length=length, temperature=1.0, top_k=1)
        return og.Generator(model, parameters)

    def logits(ids: Any) -> Any:
        rows = []
        for row in np.asarray(ids):
            one = generator(len(row))
            one.append_tokens(row[:-1].astype(np.int32))
            rows.append(one.get_output("logits")[0])
        return np.stack(rows)

    def greedy(prompt: list[int], count: int) -> list[int]:
        one = generator(len(prompt) + count)
        one.append_tokens(np.array(prompt, np.int32))
        while not one.is_done():
            one.generate_next_token()
        return [int(i) for i in one.get_sequence(0)][len(prompt) :]

    def encode(text: str) -> list[int] | None:
        # its interface takes C strings, which end at the first NUL
        return None if "\x00" in text else [int(i) for i in tokenizer.encode(text)]

    return logits, greedy, encode


LOADERS = {
    "transformers 4": load_transformers,
    "MLX": load_mlx,
    "CTranslate2": load_ctranslate2,
    "OpenVINO": load_openvino,
    "onnxruntime-genai": load_genai,
}


def main() -> None:
    """Load, compare, say."""
    reader, folder, kind = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    logits, greedy, encode = LOADERS[reader](folder / kind)
    expected, texts = np.load(folder / "expected.npz"), json.loads((folder / "texts.json").read_text())
    found = logits(expected["ids"])
    difference = float(np.abs(found - expected["logits"][:, : found.shape[1]]).max())
    count = texts["decided"]  # from there on rounding may choose another token
    continuation = greedy(expected["prompt"].tolist(), count)
    pairs = list(zip(texts["texts"], texts["ids"], strict=True))
    asked = [] if encode is None else [(text, ids, encode(text)) for text, ids in pairs]
    wrong = [text for text, ids, other in asked if other is not None and other != ids]
    for text in wrong:
        print(f"other ids: {text[:80]!r}", file=sys.stderr)
    result = {
        "difference": difference if np.isfinite(difference) else 1e9,
        "greedy_tokens": min(count, len(continuation)),
        "greedy": continuation[:count] == expected["greedy"].tolist()[: len(continuation)]
        and bool(continuation),
        "texts": len(asked),
        "refused_texts": sum(other is None for _, _, other in asked),
        "wrong_texts": len(wrong),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
