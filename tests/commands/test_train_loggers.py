"""TensorBoard and Weights & Biases (offline): the scalars of metrics.jsonl, each step once, and never worth a run."""

import shutil
import subprocess
import sys

import pytest

BLOCK = """
import sys, importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == {package!r} else find(name, *more)
from bittygpt.__main__ import main
sys.argv = ["bittygpt", "train", "tiny.yaml", {override!r}]
main()
"""
BREAK = """
import sys
import bittygpt.terminal.loggers as loggers
take, calls = loggers.{logger}.take, []
def fail(logger, event):
    calls.append(event)
    if len(calls) > 3:
        raise OSError("the network is gone")
    take(logger, event)
loggers.{logger}.take = fail
from bittygpt.__main__ import main
sys.argv = ["bittygpt", "train", "tiny.yaml", {override!r}]
main()
"""
SCALARS = {"loss", "grad_norm", "lr", "tokens", "tokens_per_second", "data_wait", "memory_gb", "elapsed"}


def run_code(line, code):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=line.folder,
        env={**line.environment, "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        check=False,
    )


def resume_from_8(line, *overrides):
    """Train, and train on from step 8 as if the process had been killed at the end."""
    line("train", "tiny.yaml", *overrides)
    shutil.rmtree(line.folder / "runs/tiny/checkpoints/step-00000012")
    assert "going on after step 8" in line("train", "tiny.yaml", *overrides).stderr


def of_log(line, key):
    return [(e["step"], e[key]) for e in line.events() if key in e and e["event"] in {"step", "eval"}]


def tensorboard_scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events, {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_tensorboard_has_the_scalars_of_the_log_each_step_once(bittygpt):
    resume_from_8(bittygpt, "train.tensorboard=true", "train.sample_every=6")
    events, scalars = tensorboard_scalars(bittygpt.folder / "runs/tiny/tensorboard")
    assert set(scalars) == SCALARS | {"val_loss", "val_bpb"}
    for tag in ("loss", "grad_norm", "lr", "tokens", "val_loss", "val_bpb"):
        assert [step for step, _ in scalars[tag]] == [step for step, _ in of_log(bittygpt, tag)]
        assert [value for _, value in scalars[tag]] == pytest.approx([v for _, v in of_log(bittygpt, tag)])
    (texts,) = [tag for tag in events.Tags()["tensors"] if tag.startswith("sample")]
    assert [event.step for event in events.Tensors(texts)] == [6, 12]


def wandb_steps(folder):
    """The rows of all offline files, in the order of their beginning."""
    import json

    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    rows, ids = [], set()
    for path in sorted(folder.glob("offline-run-*/*.wandb")):
        store = DataStore()
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                row = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
                rows.append({"_step": record.history.step.num} | row)
    return rows, ids


def test_wandb_has_the_scalars_of_the_log_each_step_once_under_one_id(bittygpt):
    bittygpt.environment["WANDB_MODE"] = "offline"
    resume_from_8(bittygpt, "train.wandb=my-project", "train.sample_every=6")
    folder = bittygpt.folder / "runs/tiny/wandb"
    rows, ids = wandb_steps(folder)
    assert ids == {(folder / "run-id.txt").read_text()}
    assert [row["_step"] for row in rows] == list(range(1, 13))
    for key in ("loss", "grad_norm", "lr", "tokens", "val_loss", "val_bpb"):
        assert [(row["_step"], row[key]) for row in rows if key in row] == of_log(bittygpt, key)
    assert [row["_step"] for row in rows if "sample" in row] == [6, 12]


def test_logged_or_not_the_weights_are_the_same(bittygpt, trained):
    bittygpt.environment["WANDB_MODE"] = "offline"
    done = bittygpt("train", "tiny.yaml", "train.tensorboard=true", "train.wandb=p")
    assert "Warning" not in done.stderr
    assert done.stdout.count("\n") == 1
    last = "runs/tiny/checkpoints/step-00000012/model.safetensors"
    assert (bittygpt.folder / last).read_bytes() == (trained.folder / last).read_bytes()


@pytest.mark.parametrize(
    ("package", "override"), [("tensorboard", "train.tensorboard=true"), ("wandb", "train.wandb=p")]
)
def test_a_missing_package_is_said_before_anything_is_done(bittygpt, package, override):
    done = run_code(bittygpt, BLOCK.format(package=package, override=override))
    assert done.returncode == 2
    assert (
        f"train.{package}: the package {package} is not installed; pip install 'bittygpt[{package}]'"
        in done.stderr
    )
    assert not (bittygpt.folder / "data").exists()


@pytest.mark.parametrize(
    ("logger", "override", "name"),
    [
        ("TensorBoard", "train.tensorboard=true", "TensorBoard"),
        ("WeightsAndBiases", "train.wandb=p", "Weights & Biases"),
    ],
)
def test_a_logger_that_fails_is_said_once_and_ends_no_run(bittygpt, logger, override, name):
    done = run_code(bittygpt, BREAK.format(logger=logger, override=override))
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr.count(f"{name} failed, and the run goes on without it: OSError: the network is gone") == 1
    )
    assert [e["step"] for e in bittygpt.events() if e["event"] == "step"] == list(range(1, 13))


def test_a_logger_that_cannot_begin_ends_no_run(bittygpt):
    (bittygpt.folder / "runs/tiny").mkdir(parents=True)
    (bittygpt.folder / "runs/tiny/tensorboard").write_text("in the way")
    done = bittygpt("train", "tiny.yaml", "train.tensorboard=true")
    assert done.stderr.count("TensorBoard failed, and the run goes on without it") == 1


def test_nobody_logged_in_is_said_before_training(bittygpt):
    bittygpt.environment |= {
        "WANDB_MODE": "online",
        "HOME": str(bittygpt.folder),
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }
    bittygpt.environment.pop("WANDB_API_KEY", None)
    done = bittygpt("train", "tiny.yaml", "train.wandb=p", code=2)
    assert "run `wandb login`, set WANDB_MODE=offline, or set the key to null" in done.stderr
