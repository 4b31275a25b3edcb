"""`train.time_budget` through the real command line. How well it is kept is measured, not tested."""

import json
import signal

import pytest

from bittygpt.training.checkpoints.checkpoint_folder import find_fault

BY_CLOCK = ["train.max_steps=null", "train.eval_every=40", "train.save_every=30"]


def status(line):
    return json.loads((line.folder / "runs/tiny/status.json").read_text())


def steps(line):
    return [event for event in line.events() if event["event"] == "step"]


def check_end(line, status_of, said):
    """Finished, saved and evaluated after the last step, whose learning rate is the end of the schedule.

    On a machine so busy that the start takes all the time there are no steps, or the evaluation is broken off.
    """
    last = steps(line)[-1]
    assert (status_of["state"], status_of["step"], status_of["of"]) == (
        "finished",
        last["step"],
        last["step"],
    )
    assert last["lr"] == pytest.approx(1e-3) or "has no room for another step" in said
    if "the evaluation was broken off" not in said:
        assert [event["step"] for event in line.events() if event["event"] == "eval"][-1] == last["step"]
    assert status_of["checkpoint"].endswith(f"step-{last['step']:08d}")
    assert find_fault(line.folder / status_of["checkpoint"]) is None
    assert [event["step"] for event in steps(line)] == list(range(1, last["step"] + 1))


def test_a_run_ends_with_its_learning_rate_and_is_finished_then(bittygpt):
    done = bittygpt("train", "tiny.yaml", "train.time_budget=7s", *BY_CLOCK)
    assert " left of 7 s, in steps of 64 tokens" in done.stderr
    assert "passes over the text" not in done.stderr
    check_end(bittygpt, status(bittygpt), done.stderr)
    again = bittygpt("train", "tiny.yaml", "train.time_budget=7s", *BY_CLOCK)
    assert "is finished; --fresh starts it over" in again.stderr
    refused = bittygpt("train", "tiny.yaml", code=2)
    assert "train.time_budget: the checkpoint has 7.0, the config says null" in refused.stderr


def test_how_long_a_text_takes_is_known_before_the_last_one(bittygpt):
    """Only the last step is followed by a text, and the evaluation after it was late, and broken off."""
    texts = ["train.sample_every=1000000", "sample.num_samples=40", "sample.max_tokens=100"]
    done = bittygpt("train", "tiny.yaml", "train.time_budget=10s", *BY_CLOCK, *texts)
    assert "the evaluation was broken off" not in done.stderr
    check_end(bittygpt, status(bittygpt), done.stderr)
    last = steps(bittygpt)[-1]["step"]
    written = [event["step"] for event in bittygpt.events() if event["event"] == "sample"]
    assert written == [0] * 40 + [last] * 40


def test_interrupted_it_goes_on_and_may_get_another_budget(bittygpt):
    process = bittygpt.start("train", "tiny.yaml", "train.time_budget=1h", *BY_CLOCK)
    bittygpt.stop_when("runs/tiny/checkpoints/step-*", process, signal.SIGINT)
    assert process.returncode == 75
    before = steps(bittygpt)
    assert status(bittygpt)["state"] == "interrupted"
    assert status(bittygpt)["of"] > len(before)
    state = json.loads(
        (bittygpt.folder / f"runs/tiny/checkpoints/step-{len(before):08d}/state.json").read_text()
    )["time_budget"]
    done = bittygpt("train", "tiny.yaml", f"train.time_budget={state['used'] + 6}", *BY_CLOCK)
    assert f"going on after step {len(before)}" in done.stderr
    assert steps(bittygpt)[: len(before)] == before
    check_end(bittygpt, status(bittygpt), done.stderr)


def test_a_budget_that_the_start_uses_up_gives_one_step_and_says_so(bittygpt):
    done = bittygpt("train", "tiny.yaml", "train.time_budget=0.1", *BY_CLOCK)
    assert "the time budget of 0 s has no room for a step: the start alone took" in done.stderr
    assert "give train.time_budget more" in done.stderr
    assert [event["step"] for event in steps(bittygpt)] == [1]
    assert status(bittygpt)["checkpoint"].endswith("step-00000001")
    assert "is finished" in bittygpt("train", "tiny.yaml", "train.time_budget=0.1", *BY_CLOCK).stderr


def test_steps_that_come_first_end_it_as_without_a_budget(bittygpt, trained):
    done = bittygpt("train", "tiny.yaml", "train.time_budget=1h")
    assert " left of 1 h 00 min, or 12 steps if they come first, of 64 tokens" in done.stderr
    assert [e["batch_hash"] for e in steps(bittygpt)] == [e["batch_hash"] for e in steps(trained)]
    check_end(bittygpt, status(bittygpt), done.stderr)
