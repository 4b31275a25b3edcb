"""The page of a run, and of several: well-formed, whole without a network, and true to the run's folder."""

import itertools
import json
import math
import re
import shutil

import pytest

from bittygpt.config import load_config
from bittygpt.report.page import report_page, spread, write_report
from bittygpt.report.record import read_run
from bittygpt.report.tables import changed_keys, different_keys

EVIL = "<script>alert('x')</script>&\"'"


def test_the_page_needs_no_network_and_is_well_formed(make_run, page, tmp_path):
    write_report([make_run(tmp_path / "a")], tmp_path / "a.html")
    html = (tmp_path / "a.html").read_text("utf-8")
    taken = page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(
        r"(?:https?:)?//[a-z]|url\(|@import|src=|<link|<img|<iframe", html.replace("// ", "")
    )
    assert len(taken.all("script")) == 1
    assert [a["lang"] for a in taken.all("html")] == ["en"]
    levels = [int(tag[1]) for tag, _ in taken.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in taken.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for svg in taken.charts():
        assert svg["role"] == "img"
        assert set(svg["aria-labelledby"].split()) <= set(ids)


def test_charts_have_the_promised_series(make_run, page, tmp_path):
    taken = page(report_page([read_run(make_run(tmp_path / "a"))]))
    assert taken.series(0) == ["training, single steps", "training, smoothed", "validation"]
    assert len(taken.charts()) == 5, "losses, their end closer, learning rate, gradient norm, throughput"
    assert [len(taken.series(i)) for i in range(5)] == [3, 3, 1, 1, 1]
    for baseline in ("uniform 6.20", "unigram 5.10", "bigram 3.30"):
        assert baseline in taken.words()
    assert "nats per token (left), bits per byte (right)" in taken.words()


def test_the_numbers_are_those_of_the_log(make_run, page, tmp_path):
    run = make_run(tmp_path / "a", every=5)
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    facts = page(report_page([read_run(run)])).facts()
    steps, evals = ([e for e in events if e["event"] == kind] for kind in ("step", "eval"))
    assert facts["steps"] == "100 of 100"
    assert facts["tokens"] == f"{steps[-1]['tokens']:,}"
    assert facts["training loss"] == f"{steps[-1]['loss']:.4f}"
    assert facts["validation loss"] == f"{evals[-1]['val_loss']:.4f}"
    assert facts["bits per byte"] == f"{evals[-1]['val_bpb']:.4f}"
    best = min(evals, key=lambda e: e["val_loss"])
    assert facts["best validation loss"] == f"{best['val_loss']:.4f} at step {best['step']:,}"
    assert facts["parameters"] == "12,345"
    assert facts["time"] == "10 s"
    assert facts["checkpoint"] == "checkpoints/step-00000100"
    assert facts["among the baselines"] == "better than bigram (3.30)"


def test_what_a_run_says_is_text_and_never_markup(make_run, page, tmp_path):
    def change(events):
        events.append(
            {"event": "sample", "step": 100, "prompt": EVIL, "text": EVIL + "\n two", "elapsed": 9.0}
        )
        events.append(
            {"event": "rewind", "step": 9, "at": 10, "to": 9, "reason": EVIL, "first": 1, "last": 2}
        )
        events[0]["device"] = EVIL
        events[0]["ladder"] = [{"name": EVIL, "loss": 4.0}]

    run = make_run(tmp_path / "a", change=change, overrides=(f"data.text_key={json.dumps(EVIL)}",))
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": EVIL, "error": EVIL}))
    yaml = (run / "config.yaml").read_text().replace("name: a", f"name: {json.dumps('b' + EVIL)}")
    (run / "config.yaml").write_text(
        yaml
    )  # as no config of today may be called, but a folder may have been made
    for runs in ([run], [run, make_run(tmp_path / "c")]):
        html = report_page([read_run(folder) for folder in runs])
        taken = page(html)
        assert len(taken.all("script")) == 1
        assert "<script>alert" not in html
        assert EVIL in taken.words()


@pytest.mark.parametrize("several", [False, True])
def test_a_long_run_makes_no_long_page(make_run, page, tmp_path, several):
    def change(events):
        for step in range(100, 20_000, 100):
            events.append(
                {"event": "sample", "step": step, "prompt": "p", "text": "x" * 9000, "elapsed": 1.0}
            )
            events.append({"event": "resume", "step": step, "reached": step + 3, "elapsed": 1.0})

    run = make_run(tmp_path / "a", 20_000, change=change)
    runs = [run, make_run(tmp_path / "b")] if several else [run]
    html = report_page([read_run(folder) for folder in runs])
    page(html)
    assert len(html) < 300_000


def test_a_run_of_one_step_and_runs_without_validation_samples_or_anything(make_run, page, tmp_path):
    one = page(report_page([read_run(make_run(tmp_path / "one", 1))]))
    assert one.facts()["steps"] == "1 of 1"
    assert one.all("path", **{"class": "dots c0"}), "a line of one point is a dot"
    blind = make_run(tmp_path / "blind", with_evals=False, change=lambda events: events.pop(0))
    taken = page(report_page([read_run(blind)]))
    assert taken.series(0) == ["training, single steps", "training, smoothed"]
    assert "validation loss" not in taken.facts()
    empty = make_run(tmp_path / "empty", change=lambda events: events.clear())
    (empty / "status.json").unlink()
    (empty / "config.yaml").write_text("run: {unheard_of: 1}\n")
    taken = page(report_page([read_run(empty)]))
    assert "No step has been logged yet." in taken.words()
    assert "unheard_of" in taken.words()
    assert taken.facts()["state"] == "unknown"
    page(report_page([read_run(run) for run in (empty, blind, tmp_path / "one")]))


def test_what_is_not_finite_or_cut_short_leaves_a_gap(make_run, page, tmp_path):
    def change(events):
        for event in events:
            if event["step"] == 50:
                event |= {"loss": math.nan, "grad_norm": math.inf, "val_loss": math.nan, "val_bpb": None}
            if event["step"] == 51:
                event["tokens_per_second"] = None

    run = make_run(tmp_path / "a", change=change)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"event": "step", "step": 7')
    html = report_page([read_run(run)])
    page(html)
    assert not re.search(r'd="[^"]*(nan|inf)', html)


def test_events_are_told_in_their_order(make_run, page, tmp_path):
    def change(events):
        at = next(i for i, e in enumerate(events) if e["step"] == 60)
        events[at:at] = [
            {"event": "interrupted", "step": 59, "elapsed": 6.0},
            {
                "event": "resume",
                "step": 55,
                "reached": 59,
                "time": "2026-01-02T04:00:00+01:00",
                "elapsed": 6.1,
            },
            {"event": "micro_batch", "step": 58, "micro_batch_size": 2, "elapsed": 6.2},
            {"event": "rewind", "step": 59, "at": 60, "to": 59, "first": 60, "last": 60, "reason": "spike"},
        ]

    taken = page(report_page([read_run(make_run(tmp_path / "a", change=change))]))
    words = taken.words()
    told = [
        "started, 2026-01-02 03:04",
        "interrupted, with a checkpoint",
        "resumed after step 55, 2026-01-02 04:00; 4 steps done again",
        "out of memory: micro-batches of 2 from here on",
        "step 60 diverged (spike): back to step 59, leaving out batches 60 to 60",
    ]
    places = [words.index(line) for line in told]
    assert places == sorted(places)
    assert len(taken.all("path", **{"class": "mark resume"})) >= 2
    assert taken.all("path", **{"class": "mark rewind"})


def test_a_folder_carried_elsewhere_makes_the_same_page(make_run, tmp_path):
    run = make_run(tmp_path / "runs/a")
    before = report_page([read_run(run)])
    shutil.copytree(run, tmp_path / "usb/copy-of-a")
    after = report_page([read_run(tmp_path / "usb/copy-of-a")])
    strip = re.compile(r"as of [^<]*")
    assert strip.sub("", before) == strip.sub("", after)


def test_several_runs_lie_over_each_other_with_their_differences(make_run, page, tmp_path):
    runs = [
        make_run(tmp_path / "a"),
        make_run(tmp_path / "b", overrides=("optim.lr=0.5", "train.max_steps=9")),
        make_run(tmp_path / "deep/a", 60),
    ]
    taken = page(report_page([read_run(run) for run in runs]))
    names = [f"a ({runs[0]})", "b", f"a ({runs[2]})"]
    assert len(taken.charts()) == 6
    assert [taken.series(i) for i in range(6)] == [names] * 6
    colours = {a["class"] for a in taken.all("path") if "series" in (a.get("class") or "")}
    assert colours == {f"series line c{i}" for i in range(3)}
    assert taken.words().index("Curves") < taken.words().index("Where their configs differ")
    assert "optim.lr" in taken.words()
    assert "optim.betas" not in taken.words()
    assert "run.name" not in taken.words()


def test_losses_of_different_vocabularies_are_compared_in_bits_per_byte(make_run, page, tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", bits_per_nat=0.25)]
    taken = page(report_page([read_run(run) for run in runs]))
    units = [text for tag, text in taken.texts if tag == "span" and text.startswith(("nats", "bits"))]
    assert units[:3] == ["bits per byte"] * 3
    assert "uniform" not in taken.words(), "the baselines are in nats"


def test_changed_keys_are_those_that_differ_from_what_would_stand_there(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("data: {train: [t.txt]}\nmodel: {d_model: 128}\ntrain: {eval_every: 250, keep: 5}\n")
    changed = changed_keys(load_config(path))
    assert [key for key, *_ in changed] == ["data.train", "model.d_model", "train.keep"]
    assert changed[2] == ("train.keep", "5", "3")
    other = load_config(path, ["optim.betas=[0.8,0.9]", "run.name=y"])
    assert different_keys([load_config(path), other, None]) == [
        ("optim.betas", ["[0.9, 0.95]", "[0.8, 0.9]", ""])
    ]


def test_spread_takes_the_first_and_the_last():
    assert spread(list(range(100)), 5) == [0, 25, 50, 74, 99]
    assert spread([1, 2], 5) == [1, 2]
