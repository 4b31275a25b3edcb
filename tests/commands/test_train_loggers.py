"""TensorBoard and Weights & Biases (offline): the scalars of metrics.jsonl, each step once, and never worth a run."""

import json
import shutil
import struct
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
import bittygpt.tracking.loggers as loggers
def break_it(logger):
    take, calls = logger.take, []
    def fail(self, event):
        calls.append(event)
        if len(calls) > 3:
            raise OSError("the network\\n is gone")
        take(self, event)
    logger.take = fail
break_it(loggers.TensorBoard)
break_it(loggers.WeightsAndBiases)
from bittygpt.__main__ import main
sys.argv = ["bittygpt", "train", "tiny.yaml", "train.tensorboard=true", "train.wandb=p"]
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


def of_log(line, key):
    return [(e["step"], e[key]) for e in line.events() if key in e and e["event"] in {"step", "eval"}]


def tensorboard_scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events, {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def wandb_records(path):
    """The records of an offline file: LevelDB's log format after 7 bytes of its own, in blocks of 32 KB."""
    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # too small for a header: padding
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # whole, or its last part
            yield record
            record = b""


def wandb_steps(folder):
    """The rows of all offline files, in the order of their beginning, and the ids of their runs."""
    from wandb.proto import wandb_internal_pb2

    rows, ids = [], set()
    for path in sorted(folder.glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime):
        for data in wandb_records(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
                rows.append({"_step": record.history.step.num} | row)
    return rows, ids


@pytest.fixture(scope="module")
def logged(command_line, tmp_path_factory):
    """A folder with a run that both loggers followed, resumed from step 8 as if it had been killed at its end."""
    line = command_line(tmp_path_factory.mktemp("logged"))
    line.environment["WANDB_MODE"] = "offline"
    overrides = ("train.tensorboard=true", "train.wandb=my-project", "train.sample_every=6")
    line.said = line("train", "tiny.yaml", *overrides)
    shutil.rmtree(line.folder / "runs/tiny/checkpoints/step-00000012")
    assert "going on after step 8" in line("train", "tiny.yaml", *overrides).stderr
    return line


def test_tensorboard_has_the_scalars_of_the_log_each_step_once(logged):
    events, scalars = tensorboard_scalars(logged.folder / "runs/tiny/tensorboard")
    assert set(scalars) == SCALARS | {"val_loss", "val_bpb"}
    for tag in ("loss", "grad_norm", "lr", "tokens", "val_loss", "val_bpb"):
        assert [step for step, _ in scalars[tag]] == [step for step, _ in of_log(logged, tag)]
        assert [value for _, value in scalars[tag]] == pytest.approx([v for _, v in of_log(logged, tag)])
    (texts,) = [tag for tag in events.Tags()["tensors"] if tag.startswith("sample")]
    assert {event.step for event in events.Tensors(texts)} == {6, 12}


def test_wandb_has_the_scalars_of_the_log_each_step_once_under_one_id(logged):
    folder = logged.folder / "runs/tiny/wandb"
    rows, ids = wandb_steps(folder)
    assert ids == {(folder / "run-id.txt").read_text()}
    assert [row["_step"] for row in rows] == list(range(1, 13))
    for key in ("loss", "grad_norm", "lr", "tokens", "val_loss", "val_bpb"):
        assert [(row["_step"], row[key]) for row in rows if key in row] == of_log(logged, key)
    assert [row["_step"] for row in rows if "sample" in row] == [6, 12]


def test_logged_or_not_the_weights_are_the_same_and_nothing_else_is_said(logged, trained):
    assert "Warning" not in logged.said.stderr
    assert "wandb:" not in logged.said.stderr
    assert logged.said.stdout.count("\n") == 1
    last = "runs/tiny/checkpoints/step-00000012/model.safetensors"
    assert (logged.folder / last).read_bytes() == (trained.folder / last).read_bytes()


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


def test_loggers_that_fail_are_said_once_and_end_no_run(bittygpt):
    done = run_code(bittygpt, BREAK)
    assert done.returncode == 0, done.stderr
    for name in ("TensorBoard", "Weights & Biases"):
        said = f"{name} failed, and the run goes on without it: OSError: the network is gone\n"
        assert done.stderr.count(said) == 1
    assert [e["step"] for e in bittygpt.events() if e["event"] == "step"] == list(range(1, 13))


def test_nobody_logged_in_is_said_before_training(bittygpt):
    bittygpt.environment |= {
        "WANDB_MODE": "online",
        "HOME": str(bittygpt.folder),
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }
    bittygpt.environment.pop("WANDB_API_KEY", None)
    done = bittygpt("train", "tiny.yaml", "train.wandb=p", code=2)
    assert "run `wandb login`, set WANDB_MODE=offline, or set the key to null" in done.stderr
