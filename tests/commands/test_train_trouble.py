"""`bittygpt train` in trouble, through the real command line: another process, a full disk, data that diverges."""

import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time

from bittygpt.training.checkpoints.checkpoint_folder import find_fault

LONG = ["train.max_steps=100000", "train.save_every=100000", "train.eval_every=100000"]
PLANT = """
import dataclasses, sys
from bittygpt.training.executor import Executor

gradients, calls = Executor.gradients, []

def planted(executor, batch, *others):
    calls.append(batch)
    result = gradients(executor, batch, *others)
    return dataclasses.replace(result, loss=float("nan")) if len(calls) in {calls!r} else result

Executor.gradients = planted
from bittygpt.__main__ import main
sys.argv = ["bittygpt", "train", "tiny.yaml"]
main()
"""


def events(line, kind):
    return [event for event in line.events() if event["event"] == kind]


def status(line):
    return json.loads((line.folder / "runs/tiny/status.json").read_text())


def train_with_nans(line, *calls):
    code = PLANT.replace("{calls!r}", repr(set(calls)))
    return line.run(sys.executable, "-c", code)


def test_a_second_process_is_told_who_trains_the_run(bittygpt):
    process = bittygpt.start("train", "tiny.yaml", *LONG)
    bittygpt.wait_for("runs/tiny/metrics.jsonl", process)
    for extra in ([], ["--fresh"]):
        second = bittygpt("train", "tiny.yaml", *LONG, *extra, code=2)
        assert f"runs/tiny is in use by process {process.pid} on " in second.stderr
        assert "another run.name" in second.stderr
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 75
    assert not (bittygpt.folder / "runs/tiny/.lock").exists()


def test_a_second_signal_exits_at_once(bittygpt):
    process = bittygpt.start("train", "tiny.yaml", *LONG, "model.d_model=512", "train.batch_size=2048")
    bittygpt.wait_for("runs/tiny/metrics.jsonl", process)
    time.sleep(0.3)  # within the next step, which takes seconds: between two steps it would stop as asked
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130
    assert not list((bittygpt.folder / "runs/tiny").glob("checkpoints/step-*"))


def test_a_closed_terminal_is_a_wish_to_stop(bittygpt):
    """What an ssh connection that breaks does: SIGHUP, and nobody to write to any more."""
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bittygpt", "train", "tiny.yaml", *LONG],
        cwd=bittygpt.folder,
        env={**bittygpt.environment, "TERM": "xterm"},
        stdin=side,
        stdout=side,
        stderr=side,
        preexec_fn=lambda: (
            os.setsid(),
            fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            signal.signal(signal.SIGHUP, signal.SIG_DFL),  # also where the tests run under nohup
        ),
    )
    os.close(side)
    shown = b""
    while b"tokens/s" not in shown:
        shown += os.read(terminal, 4096)
    os.close(terminal)
    assert process.wait(timeout=30) == 75
    assert status(bittygpt)["state"] == "interrupted"
    assert find_fault(bittygpt.folder / status(bittygpt)["checkpoint"]) is None


def test_nohup_keeps_a_run_going(bittygpt):
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "bittygpt", "train", "tiny.yaml", "train.max_steps=600"],
        cwd=bittygpt.folder,
        env=bittygpt.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    bittygpt.wait_for("runs/tiny/metrics.jsonl", process)
    process.send_signal(signal.SIGHUP)
    assert "finished after 600 steps" in process.communicate(timeout=60)[0]


def test_a_planted_nan_is_gone_back_from_and_logged(bittygpt):
    done = train_with_nans(bittygpt, 7)
    assert done.returncode == 0, done.stderr
    assert "step 7 diverged: the loss is nan" in done.stderr
    (rewind,) = events(bittygpt, "rewind")
    assert {key: rewind[key] for key in ("step", "at", "to", "first", "last", "loss")} == {
        "step": 6,
        "at": 7,
        "to": 6,
        "first": 7,
        "last": 7,
        "loss": None,
    }
    assert "owl" in rewind["text"]
    assert [e["step"] for e in events(bittygpt, "step")] == list(range(1, 13))
    assert rewind["batch_hash"] not in {e["batch_hash"] for e in events(bittygpt, "step")}
    state = json.loads((bittygpt.folder / "runs/tiny/checkpoints/step-00000012/state.json").read_text())
    assert [r["at"] for r in state["divergence"]["rewinds"]] == [7]
    assert status(bittygpt)["state"] == "finished"


def test_steps_that_were_gone_back_over_do_not_stand_twice(bittygpt):
    done = train_with_nans(bittygpt, 7, 8)
    assert done.returncode == 0, done.stderr
    assert "back to the state after step 4, leaving out batches 5 to 8" in done.stderr
    assert [e["step"] for e in events(bittygpt, "step")] == list(range(1, 13))
    assert [(e["at"], e["to"]) for e in events(bittygpt, "rewind")] == [(7, 6), (7, 4)]


def test_nans_for_ever_are_exit_3(bittygpt):
    done = train_with_nans(bittygpt, *range(6, 100))
    assert done.returncode == 3
    assert "training diverged: at step 5 the loss is nan" in done.stderr
    assert "the last good checkpoint is runs/tiny/checkpoints/step-00000004" in done.stderr
    assert len(events(bittygpt, "rewind")) == 3
    assert status(bittygpt)["state"] == "diverged"
    assert (bittygpt.folder / "runs/tiny/loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_validation_loss_that_is_nan_is_exit_3_and_names_what_is_good(bittygpt):
    """The only update is followed by nothing but its evaluation: no training loss can show what it has done."""
    ruined = ("optim.name=sgd", "optim.lr=1e20", "optim.warmup_steps=0", "train.max_steps=1")
    done = bittygpt("train", "tiny.yaml", *ruined, code=3)
    assert "training diverged: at step 1 the validation loss is nan" in done.stderr
    assert "the last good checkpoint is none" in done.stderr
    assert (status(bittygpt)["state"], status(bittygpt)["checkpoint"]) == ("diverged", None)
    assert bittygpt.events()[-1]["event"] == "diverged"
    assert (bittygpt.folder / "runs/tiny/loss.png").exists()
    assert not list((bittygpt.folder / "runs/tiny/checkpoints").glob("step-*"))
    again = bittygpt("train", "tiny.yaml", *ruined, code=3)
    assert "at step 1 the validation loss is nan" in again.stderr


def test_a_model_for_which_there_is_no_memory_is_exit_4_and_names_what_to_change(bittygpt):
    """Said before anything is built: the system would promise the memory, and kill the process that uses it."""
    done = bittygpt("train", "tiny.yaml", "model.d_model=1048576", code=4)
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("bittygpt: ")]
    assert "out of memory on cpu" in message
    assert "weights 17594.95 GB" in message
    assert "make model.context_length, model.d_model or tokenizer.vocab_size smaller" in message


def test_a_disk_that_fills_during_a_save_leaves_a_run_that_goes_on(bittygpt, small_disk):
    """What is written beside it is found only while saving: the check before sees room enough."""
    ballast = small_disk / "ballast"
    filling = [
        "train.save_every=4",
        "train.keep=9",
        "model.d_model=64",
        "model.d_ff=128",
        "train.log_every=1",
    ]
    process = bittygpt.start("train", "tiny.yaml", *filling)
    bittygpt.wait_for("runs/tiny/checkpoints/step-*4", process)
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(max(0, free - 300_000)))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1, said
    assert "make room and run the same command: it goes on from the last checkpoint" in said
    assert "Traceback" not in said
    checkpoints = sorted((small_disk / "tiny/checkpoints").iterdir())
    assert all(path.name.startswith("step-") and find_fault(path) is None for path in checkpoints)
    ballast.unlink()
    done = bittygpt("train", "tiny.yaml", *filling)
    assert "going on after step" in done.stderr
    assert "finished after 12 steps" in done.stdout
    assert [e["step"] for e in events(bittygpt, "step")] == list(range(1, 13))
    assert status(bittygpt)["state"] == "finished"


def test_a_disk_without_room_is_told_at_the_start(bittygpt, small_disk):
    done = bittygpt("train", "tiny.yaml", "model.d_model=512", code=1)
    assert "a checkpoint takes" in done.stderr
    assert "make room" in done.stderr
    assert not list(small_disk.glob("tiny/checkpoints/*"))


def test_a_limit_on_the_size_of_files_is_met_as_a_full_disk_is(bittygpt):
    bittygpt("tokenize", "tiny.yaml")
    command = f'ulimit -f 40; exec "{sys.executable}" -m bittygpt train tiny.yaml'
    done = bittygpt.run("bash", "-c", command)
    assert done.returncode == 1, done.stderr
    assert "step 4: the checkpoint found no room" in done.stderr
    assert "see what limits files (ulimit -f, a quota) and run the same command" in done.stderr
    bittygpt("train", "tiny.yaml")
    assert [e["step"] for e in events(bittygpt, "step")] == list(range(1, 13))
