"""What a person sees: plain lines in a pipe, a live display on a terminal, a picture of the losses."""

import io
import math

import pytest
from PIL import Image
from rich.console import Console

from bittygpt.terminal import preparation, training
from bittygpt.terminal.baselines import BaselineLoss, baselines_of, compare_with
from bittygpt.terminal.console import duration
from bittygpt.terminal.preparation import PreparationProgress
from bittygpt.terminal.training import TrainingDisplay
from bittygpt.tracking.loss_plot import draw_losses, smoothed
from bittygpt.training.events import EvalReport, StepReport


def report(step, mfu=None):
    return StepReport(step, step * 100, 3.2104, 1.0, 1e-3, 12345.6, mfu, 0.0, 1.0, "hash", 1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3720, "1 h 02 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_plain_lines_in_a_pipe(capsys, monkeypatch):
    monkeypatch.setattr(training, "LINE_EVERY", 0)
    with TrainingDisplay(10, 0) as display:
        display.step(report(1))
        display.evaluation(EvalReport(1, 2.5, 1.25, 1.0))
        display.step(report(10, mfu=0.41))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 1/10  loss 3.2104  lr 1.00e-03  12,346 tokens/s")
    assert "left  finish" in lines[0]
    assert lines[1] == "step 1  val loss 2.5000  1.250 bits per byte"
    assert lines[2] == "step 10/10  loss 3.2104  lr 1.00e-03  12,346 tokens/s  MFU 41%"


def test_with_a_deadline_it_is_the_time_until_then_that_is_left_and_the_steps_are_a_forecast(
    capsys, monkeypatch
):
    monkeypatch.setattr(training, "LINE_EVERY", 0)
    total, left = [None], [125.0]
    with TrainingDisplay(lambda: total[0], 0, deadline=lambda: left[0]) as display:
        assert display.seconds_left() == 125.0
        display.step(report(1))
        total[0] = 40
        display.step(report(10))
        total[0], left[0] = 30, 60.0
        display.step(report(20))
        left[0] = 2.0
        display.step(report(30))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 1/?", "step 10/40", "step 20/30", "step 30/30"]
    assert all("2 min 05 s left  finish" in line for line in lines[:2])
    assert "1 min 00 s left  finish" in lines[2]
    assert "left" not in lines[3]


@pytest.mark.parametrize(
    ("loss", "place"),
    [
        (9.5, "next: uniform (9.21)"),
        (6.0, "better than uniform (9.21), next: bigram (5.53)"),
        (5.53, "better than uniform (9.21), next: bigram (5.53)"),
        (1.0, "better than xz (4.14)"),
    ],
)
def test_a_loss_has_its_place_on_the_ladder(capsys, loss, place):
    baselines = [("uniform", 9.21), ("xz", 4.14), ("bigram", 5.53)]
    baselines = baselines_of(
        {"report": {"baselines": [{"name": name, "loss": at} for name, at in baselines]}}
    )
    assert compare_with(baselines, loss) == place
    with TrainingDisplay(10, 0, baselines=baselines) as display:
        display.evaluation(EvalReport(1, loss, None, 1.0))
    assert capsys.readouterr().err.endswith(f"{loss:.4f}  {place}\n")
    assert baselines_of({"format": 1}) == []
    assert compare_with([], loss) == ""


def test_other_ranks_show_nothing(capsys):
    with TrainingDisplay(10, 0, show=False) as display:
        display.step(report(1))
        display.evaluation(EvalReport(1, 2.5, 1.25, 1.0))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_live_display_fits_the_terminal(monkeypatch, width):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, highlight=False)
    monkeypatch.setattr(training, "log_console", lambda: console)
    monkeypatch.setattr(training, "draws", lambda: True)
    with TrainingDisplay(1000, 0) as display:
        display.step(report(500))
        display.evaluation(EvalReport(500, 2.5, 1.25, 1.0))
        display.step(report(501))
    plain = Console(width=width, file=io.StringIO(), record=True)
    display.stopping("stopping after this step")
    plain.print(display)
    text = plain.export_text()
    for word in ("step 501 of 1,000", "50%", "loss 3.2104", "tokens/s", "left", "finish", "val loss 2.5000"):
        assert word in " ".join(text.split())
    lines = text.splitlines()
    assert all(len(line) <= width for line in lines)
    assert set(lines[1].strip()) <= set("━╺╸"), "the bar has a line of its own"
    assert lines[-1].rstrip() == "stopping after this step"
    assert "val loss 2.5000" in screen.getvalue()


def test_preparation_says_now_and_then_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(preparation, "LINE_EVERY", 0)
    with PreparationProgress() as progress:
        progress("encoding", 25, 100)
        progress("encoding", 50, 100)
        progress("checking a.txt", 0, 0)
    lines = ["encoding: 25 %", "encoding: 50 %, 0 s left", "checking a.txt"]
    assert capsys.readouterr().err.splitlines() == lines


def test_preparation_draws_bars_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    with PreparationProgress() as progress:
        progress("encoding", 25, 100)
    assert "encoding" in screen.getvalue()
    assert "100%" in screen.getvalue()


def test_a_terminal_that_moves_no_cursor_gets_plain_lines(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with TrainingDisplay(1000, 0) as display:
        display.step(report(1))
    assert "step 1/1000  loss" in screen.getvalue()


def test_smoothing_starts_without_a_bias_and_keeps_a_constant():
    assert smoothed([3.0] * 50) == pytest.approx([3.0] * 50)
    assert smoothed([5.0, 1.0])[0] == 5.0


@pytest.mark.parametrize("with_evals", [False, True])
def test_the_picture_is_a_png_of_a_readable_size(tmp_path, with_evals):
    events = [{"event": "step", "step": i, "loss": 2 + math.exp(-i / 30)} for i in range(1, 100)]
    if with_evals:
        events += [{"event": "eval", "step": i, "val_loss": 2.2} for i in (50, 100)]
    baselines = [
        BaselineLoss("uniform", 5.55),
        BaselineLoss("bigram", 2.41),
        BaselineLoss("trigram", 2.4),
        BaselineLoss("xz", 2.38),
    ]
    draw_losses(events, tmp_path / "loss.png", "a run", baselines)
    with Image.open(tmp_path / "loss.png") as image:
        assert image.size == (960, 600)
        assert len(set(image.convert("L").tobytes())) > 10


def test_a_run_of_one_step_is_a_dot(tmp_path):
    draw_losses([{"event": "step", "step": 1, "loss": 6.1}], tmp_path / "loss.png", "a run", [])
    with Image.open(tmp_path / "loss.png") as image:
        inside = image.convert("RGB").crop((100, 80, 810, 540))
    assert 0x0B62B5 in {r << 16 | g << 8 | b for _, (r, g, b) in inside.getcolors(1 << 16)}


def test_the_words_above_the_picture_end_within_it(tmp_path):
    evals = [
        {"event": "eval", "step": i, "val_loss": 100.0 + i / 1e6, "val_bpb": 123.456}
        for i in (900_000, 1_000_000)
    ]
    draw_losses(
        evals, tmp_path / "loss.png", "a run", [BaselineLoss("uniform", 166.0), BaselineLoss("trigram", 82.0)]
    )
    with Image.open(tmp_path / "loss.png") as image:
        margin = image.convert("L").crop((952, 0, 960, 100))
    assert margin.getextrema() == (255, 255)


def test_a_simple_model_far_above_all_else_is_left_out_of_the_picture(tmp_path):
    events = [{"event": "step", "step": i, "loss": 7.0 - i} for i in range(1, 5)]
    baselines = [BaselineLoss("uniform", 5.55), BaselineLoss("bigram", 2.41)]
    draw_losses(events, tmp_path / "without.png", "a run", baselines)
    draw_losses(events, tmp_path / "with.png", "a run", [BaselineLoss("xz", 80.0), *baselines])
    assert (tmp_path / "with.png").read_bytes() == (tmp_path / "without.png").read_bytes()


def test_time_left_is_that_of_the_speed_of_late(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: clock[0])
    with TrainingDisplay(1000, 0, show=False) as display:
        assert display.seconds_left() is None
        clock[0] = 100.0  # a slow first step: compilation
        display.step(report(1))
        assert display.seconds_left() == pytest.approx(99_900)
        for step in range(2, 202):
            clock[0] += 1.0
            display.step(report(step))
        assert display.seconds_left() == pytest.approx(799)
