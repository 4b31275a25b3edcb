"""`make bench-generate`: how fast texts are generated, beside `generate` of transformers on the same model, exported.

    python tests/benchmarks/generation.py [--json FILE] [--threads N ...] [--rounds N] [--tokens N]

6 layers, 256 wide, context 512, 10,000 tokens, random weights; greedy, without an end. All is measured in one process,
in turn, so that a noisy machine slows both; what stands in the table are medians of the rounds, and of their ratios.
Start-up (making the decoder, reading the prompts) is taken off: a short generation's time from a long one's.

Needs transformers.
"""

import argparse
import itertools
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file

from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.export.huggingface.folder import config_files, huggingface_weights
from bittygpt.sampling.batch import Batch, Sample
from bittygpt.sampling.decoding.decoder import Decoder
from bittygpt.sampling.decoding.kv_cache import common_capacity
from bittygpt.sampling.options import SamplingOptions

SHAPE = ModelConfig(vocab_size=10_000, context_length=512, d_model=256, num_layers=6, num_heads=8)
PROMPTS = 32
SAMPLE = {
    "temperature": 0,
    "top_k": None,
    "top_p": None,
    "min_p": None,
    "max_tokens": 1,
    "repetition_penalty": 1.0,
}
BARS = {"one": 2.0, "batch": 1.5, "late": 1.5}
Prompts = list[list[int]]


def transformers_model(model: TransformerLM, folder: Path):
    """The same weights in transformers' Llama, by our own export."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import transformers

    transformers.utils.logging.disable_progress_bar()
    save_file(huggingface_weights(model, torch.float32), folder / "model.safetensors", {"format": "pt"})
    for name, values in config_files(model.config, 0, "float32", SAMPLE).items():
        (folder / name).write_text(json.dumps(values))
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def ours(model: TransformerLM, prompts: Prompts, count: int) -> tuple[list[list[int]], list[float]]:
    """The texts, and the moment after each step."""
    options = SamplingOptions(count, temperature=0, ignore_eos=True)
    capacity = common_capacity(model.config, [len(ids) for ids in prompts], count)
    samples = [Sample(ids) for ids in prompts]
    found: dict[Sample, list[int]] = {sample: [] for sample in samples}
    moments = [time.perf_counter()]
    for step in Batch(Decoder(model, len(prompts)), options, 0, capacity, print).run(samples):
        for sample, token in step:
            found[sample].append(token.token_id)
        moments.append(time.perf_counter())
    return [found[sample] for sample in samples], moments


def theirs(peer, prompts: Prompts, count: int) -> list[list[int]]:
    """`generate`, the prompts padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        whole = peer.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )
    return whole[:, longest:].tolist()


def seconds_per_step(generate: Callable[[int], object], count: int) -> float:
    """Of a long generation less a short one."""
    short = max(2, count // 8)
    times = []
    for steps in (short, count):
        started = time.perf_counter()
        generate(steps)
        times.append(time.perf_counter() - started)
    return (times[1] - times[0]) / (count - short)


def compare(model: TransformerLM, peer, prompts: Prompts, count: int, rounds: int) -> dict[str, float]:
    """Tokens per second of both in turn, and the median ratio."""
    pairs = []
    for number in range(rounds):
        contenders = [lambda n: ours(model, prompts, n), lambda n: theirs(peer, prompts, n)]
        order = [0, 1] if number % 2 == 0 else [1, 0]
        taken = {place: seconds_per_step(contenders[place], count) for place in order}
        pairs.append((taken[0], taken[1]))
    return {
        "tokens_per_second": len(prompts) / median(mine for mine, _ in pairs),
        "generate_tokens_per_second": len(prompts) / median(other for _, other in pairs),
        "ratio": median(other / mine for mine, other in pairs),
        "ratios": sorted(other / mine for mine, other in pairs),
    }


def late_against_early(model: TransformerLM, rounds: int) -> dict[str, float]:
    """Time per token at position 500 over that at position 10, and the memory that came between."""
    early, late, grown = [], [], []
    for _ in range(rounds):
        peaks = []
        _, moments = ours_with_memory(model, peaks)
        steps = [after - before for before, after in itertools.pairwise(moments)]
        early.append(median(steps[2:18]))
        late.append(median(steps[491:507]))
        grown.append(peaks[-1] - peaks[0])
    return {
        "ms_at_10": 1e3 * median(early),
        "ms_at_500": 1e3 * median(late),
        "ratio": median(b / a for a, b in zip(early, late, strict=True)),
        "peak_memory_grown_mb": max(grown[1:] or grown) / 1e6,
    }


def ours_with_memory(model: TransformerLM, peaks: list[int]) -> tuple[None, list[float]]:
    """As `ours` from one token to a full context, noting the peak memory at position 20 and at the end."""
    moments = [time.perf_counter()]
    batch = Batch(Decoder(model, 1), SamplingOptions(511, temperature=0, ignore_eos=True), 0, 512, print)
    for number, _ in enumerate(batch.run([Sample([1])])):
        moments.append(time.perf_counter())
        if number in (20, 510):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return None, moments


def measure(threads: int, rounds: int, count: int) -> dict:
    """All figures with so many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = TransformerLM(SHAPE).eval()
    lengths = torch.randint(5, 100, (PROMPTS,)).tolist()
    prompts = [torch.randint(1, SHAPE.vocab_size, (length,)).tolist() for length in lengths]
    with tempfile.TemporaryDirectory() as folder:
        peer = transformers_model(model, Path(folder))
    assert ours(model, prompts[:1], 8)[0] == theirs(peer, prompts[:1], 8), "the export is another model"
    return {
        "threads": threads,
        "one": compare(model, peer, prompts[:1], count, rounds),
        "batch": compare(model, peer, prompts, max(16, count // 4), rounds),
        "late": late_against_early(model, rounds),
    }


def lines(figures: dict) -> str:
    """A line for each figure, with its bar."""
    text = [f"{figures['threads']} threads"]
    for name, what in (("one", "batch of one"), ("batch", f"batch of {PROMPTS}")):
        row = figures[name]
        ratio, least, most = row["ratio"], row["ratios"][0], row["ratios"][-1]
        text.append(
            f"  {what:12}  {row['tokens_per_second']:7,.0f} tokens/s, generate "
            f"{row['generate_tokens_per_second']:7,.0f}: {ratio:.2f} times ({least:.2f} to {most:.2f}); "
            f"to be {BARS[name]} or more"
        )
    late = figures["late"]
    text.append(
        f"  a token at position 10 takes {late['ms_at_10']:.2f} ms, at 500 {late['ms_at_500']:.2f} ms: "
        f"{late['ratio']:.2f} times, to be {BARS['late']} or less; "
        f"peak memory grew by {late['peak_memory_grown_mb']:.1f} MB between"
    )
    return "\n".join(text)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all figures there too")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, min(2, os.cpu_count() or 1)}))
    parser.add_argument("--rounds", type=int, default=5, help="how often both take their turn")
    parser.add_argument("--tokens", type=int, default=128, help="of a text in a batch of one")
    options = parser.parse_args()
    rows = []
    for threads in options.threads:
        rows.append(measure(threads, options.rounds, options.tokens))
        print(lines(rows[-1]), flush=True)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
