"""The data report: what is in the tokens, as it stands in `manifest.json` under "report"."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bittygpt.data.analysis.baselines import Baseline
from bittygpt.data.analysis.duplicates import Duplicates
from bittygpt.data.analysis.near_duplicates import RESEMBLANCE, find_near_duplicates
from bittygpt.data.preparation.statistics import SplitStatistics

MOST_UNUSED = 20  # entries that are named


def data_report(
    statistics: dict[str, SplitStatistics],
    duplicates: Duplicates,
    baselines: Sequence[Baseline],
    vocabulary: Sequence[bytes],
    num_special: int,
    epochs: float,
) -> dict[str, Any]:
    """All that is known of the data, in numbers and strings.

    Args:
        num_special: entries at the beginning of the vocabulary that no text can hold.
        epochs: how often the run's config goes through the training tokens; 0: not known.
    """
    counts = sum(split.token_counts for split in statistics.values())
    unused = np.flatnonzero(counts == 0)
    unused = unused[unused >= num_special].tolist()
    return {
        "splits": {
            name: {
                "bytes_per_token": round(split.num_bytes / max(1, split.tokens - split.documents), 4),
                "document_tokens": split.lengths(),
            }
            for name, split in statistics.items()
            if split.documents
        },
        "duplicates": asdict(duplicates),
        "near_duplicates": _near_duplicates(statistics),
        "unused_entries": {
            "number": len(unused),
            "first": [repr(vocabulary[i]) for i in unused[:MOST_UNUSED]],
        },
        "epochs": round(epochs, 4) if epochs else None,
        "baselines": [asdict(baseline) for baseline in baselines],
    }


def _near_duplicates(statistics: dict[str, SplitStatistics]) -> dict[str, Any]:
    """Both splits are sampled at the same rate, or a document could be in the sample without its near duplicate."""
    one_in = max(split.sample_one_in for split in statistics.values())
    samples = [statistics[name].sketches.sampled(one_in) for name in ("train", "val")]
    return {**asdict(find_near_duplicates(*samples)), "resemblance": RESEMBLANCE, "one_in": one_in}


def describe_report(report: dict[str, Any], splits: dict[str, dict[str, Any]]) -> list[str]:
    """The report for a person, a line a fact."""
    lines = []
    for name, split in report["splits"].items():
        of = split["document_tokens"]
        lines.append(
            f"{name}: tokens in a document: mean {of['mean']:,}, median {of['p50']:,}, "
            f"a tenth under {of['p10']:,}, a tenth over {of['p90']:,}, the longest {of['max']:,}"
        )
    lines += _repetitions(report, splits)
    number, first = report["unused_entries"]["number"], report["unused_entries"]["first"][:5]
    if number:
        entries = "1 entry" if number == 1 else f"{number:,} entries"
        more = " …" if number > len(first) else ""
        lines.append(f"{entries} of the vocabulary never {_verb(number, 'occur')}: {' '.join(first)}{more}")
    if report["epochs"] is not None:
        lines.append(f"the run's config goes through the training tokens {report['epochs']:,.2f} times")
    if report["baselines"]:
        lines.append("what simple models make of the validation tokens:")
    for model in report["baselines"]:
        bits = "" if model["bits_per_byte"] is None else f"{model['bits_per_byte']:8.3f} bits per byte"
        lines.append(f"  {model['name']:8}{model['loss']:8.4f} nats per token{bits}")
    return lines


def _repetitions(report: dict[str, Any], splits: dict[str, dict[str, Any]]) -> list[str]:
    exact, near = report["duplicates"], report["near_duplicates"]
    lines = [
        f"{name}: {_documents(exact[name])} ({exact[name] / splits[name]['documents']:.1%}) "
        f"{_verb(exact[name], 'repeat')} an earlier one"
        for name in ("train", "val")
        if exact[name]
    ]
    if near["repeated"]:
        lines.append(
            f"{near['repeated']:,} of a sample of {_documents(near['sampled'])} "
            f"({near['repeated'] / near['sampled']:.1%}) nearly {_verb(near['repeated'], 'repeat')} another one: "
            f"{near['resemblance']:.0%} or more of their runs of 8 tokens are the same"
        )
    if exact["leaked"] or near["leaked"]:
        of = _documents(splits["val"]["documents"], "validation document")
        lines.append(
            f"WARNING: validation leaks: {exact['leaked']:,} of {of} {'is' if exact['leaked'] == 1 else 'are'} in the "
            f"training text, too, and {near['leaked']:,} in the sample nearly so; the validation loss will look better "
            "than the model is"
        )
    return lines or ["no document repeats another"]


def _documents(number: int, noun: str = "document") -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _verb(number: int, verb: str) -> str:
    return f"{verb}{'s' * (number == 1)}"
