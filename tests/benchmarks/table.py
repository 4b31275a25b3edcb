"""The table of `make bench`: from what the workers said to rows, and from rows to lines."""

from collections.abc import Mapping, Sequence
from statistics import median

from processes import Worker
from shapes import AGAINST, FULL_LOGITS, OURS, Shape, has_large_vocabulary

PARTS = ("forward", "backward", "clip", "optimizer")
HEADER = (
    f"{'shape':7}{'threads':>8}  {'who':21}{'parameters':>12}{'forward':>9}{'backward':>9}{'clip':>7}{'optim.':>8}"
    f"{'step ms':>9}{'tokens/s':>10}{'of rate':>8}{'products':>9}{'attention':>10}{'memory':>9}{'beside':>8}"
    "   time and memory, times as much"
)
LEGEND = """\
Milliseconds are medians; `step` is timed whole, as the owner's loop makes it (on CUDA ours replays what it captured),
the parts in steps of their own, launched one operation after the other.
of rate: floating-point operations of the step over its time, as a share of the matrix rate measured in turn with it
(in the precision of the first line, so that products in bf16 may come to more than all of it).
products, attention: what the profiler counts in matrix products (mm, addmm, bmm, …; on CUDA their kernels, by name) and
in fused attention, which has two more products inside, as a share of steps right before and after it.
memory: peak in GB, of the whole process on a CPU, of PyTorch's tensors on CUDA; beside: what is left of it without
the imports, the weights, as many gradients, and the optimizer's moments.
times as much: medians (least to most) of rounds in which both took their turn; memory likewise, of one run each."""
BAR_MEMORY, BAR_TIME = 3.0, 1.0


def make_rows(
    shape: Shape, threads: int | None, rates: Sequence[Mapping], workers: Sequence[Worker]
) -> list[dict]:
    """A row for each contender. `rates` are the turns of the matrix rate that went with theirs."""
    rate = median(turn["rate"] for turn in rates)
    rows: dict[str, dict] = {}
    for worker in workers:
        row = {"shape": shape.name, "threads": threads, "contender": worker.name}
        if worker.error:
            rows[worker.name] = {**row, "error": worker.error}
            continue
        row |= {"batch": shape.batch, "context": shape.context, "vocabulary": shape.vocabulary}
        row |= summary(worker)
        row["matrix_flops"] = rate
        row["tokens_per_second"] = 1e3 * shape.tokens / row["step_ms"]
        row["share_of_matrix_rate"] = row["tokens_per_second"] * row["flops_per_token"] / rate
        row["share_in_products"] = row["products_ms"] / row["profiled_beside_ms"]
        row["share_in_attention"] = row["attention_ms"] / row["profiled_beside_ms"]
        rows[worker.name] = row
    for name, row in rows.items():
        other = rows.get(AGAINST.get(name, ""))
        if other is not None and "error" not in row and "error" not in other:
            row |= ratios(row, other)
    return sorted(rows.values(), key=lambda row: row["contender"] != OURS)  # ours first


def summary(worker: Worker) -> dict:
    """A contender's figures, but for what depends on others."""
    ready, end = worker.ready, worker.end
    keys = ("step_ms", *(f"{part}_ms" for part in PARTS))
    return {
        "parameters": ready["parameters"],
        "flops_per_token": ready["flops_per_token"],
        **{key: median(turn[key] for turn in worker.turns) for key in keys},
        **{
            key: end[key] for key in ("products_ms", "attention_ms", "profiled_step_ms", "profiled_beside_ms")
        },
        "peak_memory_gb": end["peak_bytes"] / 1e9,
        "imports_gb": ready["before_model_bytes"] / 1e9,
        "state_gb": ready["state_bytes"] / 1e9,
        "beside_gb": (end["peak_bytes"] - ready["before_model_bytes"] - ready["state_bytes"]) / 1e9,
        "step_ms_of_rounds": [turn["step_ms"] for turn in worker.turns],
    }


def ratios(row: Mapping, other: Mapping) -> dict:
    """How many times the other's time and memory it takes."""
    times = [a / b for a, b in zip(row["step_ms_of_rounds"], other["step_ms_of_rounds"], strict=True)]
    return {
        "against": other["contender"],
        "time_ratio": {"median": median(times), "least": min(times), "most": max(times)},
        "memory_ratio": row["peak_memory_gb"] / other["peak_memory_gb"],
        "beside_ratio": row["beside_gb"] / other["beside_gb"] if other["beside_gb"] > 0 else None,
    }


def line(row: Mapping) -> str:
    """A row of the table."""
    start = f"{row['shape']:7}{row['threads'] or '':>8}  {row['contender']:21}"
    if "error" in row:
        return f"{start}  cannot run here: {row['error']}"
    parts = "".join(
        f"{row[f'{part}_ms']:{width}.1f}" for part, width in zip(PARTS, (9, 9, 7, 8), strict=True)
    )
    text = (
        f"{start}{row['parameters']:12,}{parts}{row['step_ms']:9.1f}{row['tokens_per_second']:10,.0f}"
        f"{row['share_of_matrix_rate']:8.0%}{row['share_in_products']:9.0%}{row['share_in_attention']:10.0%}"
        f"{row['peak_memory_gb']:9.2f}{row['beside_gb']:8.2f}"
    )
    if "time_ratio" not in row:
        return text
    time = row["time_ratio"]
    return (
        f"{text}   {time['median']:.2f} ({time['least']:.2f} to {time['most']:.2f}), {row['memory_ratio']:.2f}"
        f" of {row['against']}'s"
    )


def verdict(shape: Shape, rows: Sequence[Mapping]) -> str | None:
    """Of the large vocabulary: whether the loss without logits takes a third of the memory, and is not slower."""
    row = next((row for row in rows if row["contender"] == FULL_LOGITS and "time_ratio" in row), None)
    if row is None or not has_large_vocabulary(shape):
        return None
    memory, time = row["memory_ratio"], row["time_ratio"]["median"]
    beside = f"{row['beside_ratio']:.1f} times" if row["beside_ratio"] else "more"
    return (
        f"{shape.layers} layers, {shape.width} wide, {shape.batch} x {shape.context} tokens, vocabulary "
        f"{shape.vocabulary:,}: with all logits held, {memory:.2f} times the peak memory (the bar: {BAR_MEMORY:.0f}; "
        f"{'met' if memory >= BAR_MEMORY else 'not met'}; beside imports and state {beside}) "
        f"and {time:.2f} times the time (the bar: {BAR_TIME:.0f}; {'met' if time >= BAR_TIME else 'not met'})"
    )
