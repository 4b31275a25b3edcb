"""`make figures`: the READMEs' tables of figures, from what the benchmarks last wrote.

    python tests/benchmarks/readme.py [--new DIR]

A table stands in a README between `<!-- figures: NAME -->` and `<!-- end of figures -->`, and is what `TABLES[NAME]`
makes of `measured/NAME.json`: a benchmark's own `--json`. Files of these names in `--new` replace those kept here
before. A test holds every table to its file, so that no figure is typed by hand, and none outlives its measurement.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

MEASURED = Path(__file__).parent / "measured"
READMES = sorted((Path(__file__).parents[2] / "bittygpt").rglob("README.md"))
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    header = list(header)
    lines = [header, ["---"] * len(header), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def times(row: dict) -> str:
    """Time and memory beside whom a contender is compared with."""
    if "time_ratio" not in row:
        return ""
    time = row["time_ratio"]
    spread = f"{time['median']:.2f} ({time['least']:.2f} to {time['most']:.2f})"
    return f"{spread}; {row['memory_ratio']:.2f} of {row['against']}'s"


def bench(report: dict) -> str:
    """Of `training_step.py`."""
    is_cpu = report["device"] == "cpu"
    rows = [
        (
            row["shape"] + (f", {row['threads']}" if is_cpu else ""),
            row["contender"],
            f"{row['parameters']:,}",
            f"{row['step_ms']:,.1f}" if row["step_ms"] < 1000 else f"{row['step_ms']:,.0f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['share_of_matrix_rate']:.0%}",
            f"{row['share_in_products']:.0%} ({row['share_in_attention']:.0%})",
            f"{row['peak_memory_gb']:.2f} GB",
            times(row),
        )
        for row in report["rows"]
    ]
    shape = "shape, threads" if is_cpu else f"shape, on one {report['machine']}"
    columns = (
        "parameters",
        "ms a step",
        "tokens/s",
        "of the matrix rate",
        "in products (in attention)",
        "memory",
    )
    return table((shape, "who", *columns, "time; memory, times as much"), rows)


def bench_shakespeare(report: dict) -> str:
    """Of `shakespeare.py`."""
    sides = {"bittygpt": "bittygpt, tokenizing included", "nanoGPT": "nanoGPT's recipe"}
    rounds = len(report["bittygpt"])
    rows = [
        (
            title,
            f"{median(each['seconds'] for each in report[name]):.1f}",
            f"{median(each['loss'] for each in report[name]):.4f}",
            f"{report[name][0]['parameters']:,}",
            f"{report[name][0]['tokens']:,}",
        )
        for name, title in sides.items()
    ]
    pairs = zip(report["bittygpt"], report["nanoGPT"], strict=True)
    share = median(mine["seconds"] / theirs["seconds"] for mine, theirs in pairs)
    title = f"`make bench-shakespeare`, {rounds} round{'s' if rounds > 1 else ''}"
    return (
        table((title, "seconds", "val loss", "parameters", "tokens seen"), rows)
        + f"\n\nThat is {share:.2f} of its time."
    )


def bench_generate(report: dict) -> str:
    """Of `generation.py`."""
    titles = {"one": "one text", "batch": "32 texts of different lengths"}
    rows = [
        (
            f"{title}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}",
            f"{row[name]['tokens_per_second']:,.0f} tokens/s",
            f"{row[name]['generate_tokens_per_second']:,.0f}",
            f"{row[name]['ratio']:.2f} times ({min(row[name]['ratios']):.2f} to {max(row[name]['ratios']):.2f})",
        )
        for name, title in titles.items()
        for row in report["rows"]
    ]
    late = " and ".join(f"{row['late']['ratio']:.2f}" for row in report["rows"])
    grown = max(row["late"]["peak_memory_grown_mb"] for row in report["rows"])
    return (
        table(("", "bittygpt", "`generate`", "median of the rounds"), rows)
        + f"\n\nA token at position 500 takes {late} times as long as one at position 10, and the most memory held "
        + f"grows by {grown:.1f} MB on the way."
    )


def bench_plan(report: dict) -> str:
    """Of `plan.py`."""
    figures = ("tokens/s", "seconds to the end", "memory, GB", "checkpoint, MB")
    rows = [
        (name, *(f"{median(plan / run for plan, run in pairs[figure]):.2f}" for figure in figures))
        for name, pairs in report.items()
    ]
    return table(
        ("planned / measured", *(figure.partition(",")[0] for figure in figures)),
        ((name if name != "wide" else "six layers, 384 wide", *cells) for name, *cells in rows),
    )


def ablation(report: list[dict]) -> str:
    """Of `ablation.py`."""
    rows = [
        (
            row["name"],
            f"{row['val_loss']:.4f}",
            f"{row['step_ms']:.0f}",
            "not reached" if row["steps"] is None else str(row["steps"]),
            "" if row["steps"] is None else f"{row['seconds']:.1f}",
        )
        for row in report
    ]
    return table(("", "val loss", "ms a step", "to 1.886: steps", "seconds"), rows)


def sweep(report: list[dict]) -> str:
    """Of `sweep.py`."""
    rows = [
        (
            ", ".join(setting.partition("=")[2] for setting in row["settings"]) + " wide",
            f"{row['lr']:.2g}",
            *(
                f"**{loss:.4f}**" if loss == min(row["val_loss"]) else f"{loss:.4f}"
                for loss in row["val_loss"]
            ),
        )
        for row in report
    ]
    factors = (f"x {factor:g}" for factor in report[0]["factors"])
    return table(("validation loss", "default `lr`", *factors), rows)


TABLES: dict[str, Callable[[Any], str]] = {
    "bench": bench,
    "bench-gpu": bench,
    "bench-shakespeare": bench_shakespeare,
    "bench-generate": bench_generate,
    "bench-plan": bench_plan,
    "ablation": ablation,
    "sweep": sweep,
}


def with_tables(readme: str) -> str:
    """A README, every table as the figures that are kept have it."""

    def made(block: re.Match[str]) -> str:
        report = json.loads((MEASURED / f"{block[2]}.json").read_text())
        return f"{block[1]}{TABLES[block[2]](report)}\n{block[3]}"

    return BLOCK.sub(made, readme)


def keep(new: Path) -> None:
    """Take a benchmark's figures, if a README has a table for them; those of a GPU have one of their own."""
    report = json.loads(new.read_text())
    on_gpu = isinstance(report, dict) and report.get("device", "cpu") != "cpu"
    name = new.stem + ("-gpu" if on_gpu else "")
    if name in TABLES:
        (MEASURED / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
        print(f"{name}: {new}")


def main() -> None:
    """Keep what is new, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--new", type=Path, default=Path("runs"), help="where benchmarks wrote their --json")
    for new in sorted(parser.parse_args().new.glob("*.json")):
        keep(new)
    for readme in READMES:
        readme.write_text(with_tables(readme.read_text()))


if __name__ == "__main__":
    main()
