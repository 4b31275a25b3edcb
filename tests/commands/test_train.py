"""`bittygpt train` through the real command line: start, resume, finish, and every way to stop."""

import json
import shutil
import signal

import pytest
import torch

from bittygpt.engine.kernels import cpu
from bittygpt.training.checkpoints.checkpoint_folder import find_fault

STEP_FIELDS = [
    *("event", "step", "tokens", "loss", "grad_norm", "lr", "tokens_per_second", "mfu", "data_wait"),
    *("memory_gb", "batch_hash", "elapsed"),
]


def what_must_agree(line, name="tiny"):
    """All of a run that does not depend on the clock: losses, batches, validation, the final weights."""
    steps = [
        (e["step"], e["loss"], e["grad_norm"], e["lr"], e["batch_hash"])
        for e in line.events(name)
        if e["event"] == "step"
    ]
    evals = [(e["step"], e["val_loss"], e["val_bpb"]) for e in line.events(name) if e["event"] == "eval"]
    last = line.folder / f"runs/{name}/checkpoints/step-00000012"
    return steps, evals, *((last / f"{kind}.safetensors").read_bytes() for kind in ("model", "optimizer"))


def test_leaves_what_the_contract_says(trained):
    run = trained.folder / "runs/tiny"
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "loss.png",
        "metrics.jsonl",
        "report.html",
        "status.json",
    ]
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step-00000008", "step-00000012"]
    for checkpoint in (run / "checkpoints").iterdir():
        assert find_fault(checkpoint) is None
    steps = [e for e in trained.events() if e["event"] == "step"]
    assert [list(e) for e in steps] == [STEP_FIELDS] * 12
    assert [e["step"] for e in steps] == list(range(1, 13))
    assert steps[-1]["tokens"] == 12 * 4 * 16
    assert steps[0]["mfu"] is None
    assert [list(e) for e in trained.events() if e["event"] == "eval"] == [
        ["event", "step", "val_loss", "val_bpb", "elapsed"]
    ] * 2
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["step"], status["of"]) == ("finished", 12, 12)
    assert status["checkpoint"].endswith("step-00000012")
    assert "log_every: 1" in (run / "config.yaml").read_text()
    assert "rope_theta: 10000" in (run / "config.yaml").read_text()  # defaults included


def test_a_finished_run_says_so_and_exits_0(trained):
    before = (trained.folder / "runs/tiny/metrics.jsonl").read_bytes()
    done = trained("train", "tiny.yaml")
    assert "is finished; --fresh starts it over" in done.stderr
    assert "finished after 12 steps" in done.stdout
    assert "better than" in done.stdout or "next: uniform" in done.stdout
    assert (trained.folder / "runs/tiny/metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "moment", ["metrics.jsonl", "checkpoints/step-00000004", "checkpoints/.step-00000008", "loss.png"]
)
def test_sigkill_at_any_moment_changes_nothing(bittygpt, trained, moment):
    """Killed as soon as a file of the run appears, up to three times, the run ends as the one that nothing stopped."""
    for _ in range(3):
        process = bittygpt.start("train", "tiny.yaml")
        while process.poll() is None:
            if list((bittygpt.folder / "runs").glob(f"tiny/{moment}*")):
                process.kill()
                break
        process.communicate()
    bittygpt("train", "tiny.yaml")
    assert what_must_agree(bittygpt) == what_must_agree(trained)


def test_in_bf16_a_resumed_run_is_the_run_that_nothing_stopped(bittygpt):
    """On a CPU without instructions for bf16 it is fp32, and said so."""
    overrides = ["train.precision=bf16", "optim.name=muon"]
    said = bittygpt("train", "tiny.yaml", "run.name=whole", *overrides).stderr
    assert "on cpu in bf16, " in said or "on cpu in fp32 (it has no instructions for bf16), " in said
    bittygpt("train", "tiny.yaml", *overrides)
    shutil.rmtree(bittygpt.folder / "runs/tiny/checkpoints/step-00000012")
    assert "going on after step 8" in bittygpt("train", "tiny.yaml", *overrides).stderr
    assert what_must_agree(bittygpt) == what_must_agree(bittygpt, "whole")


@pytest.mark.skipif(not cpu.work_in(torch.float32), reason="there is no C compiler")
def test_without_a_c_compiler_the_losses_are_the_same_and_it_is_said(bittygpt, trained):
    assert "slower without kernels" not in bittygpt("train", "tiny.yaml", "run.name=with").stderr
    bittygpt.environment["CC"] = "none"
    said = bittygpt("train", "tiny.yaml").stderr
    assert "slower without kernels for the CPU, which take Linux and a C compiler" in said
    losses = [[e["loss"] for e in runs.events() if e["event"] == "step"] for runs in (bittygpt, trained)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_and_exits_75(bittygpt, number):
    long = ["train.max_steps=100000", "train.save_every=100000", "train.eval_every=100000"]
    process = bittygpt.start("train", "tiny.yaml", *long)
    said = bittygpt.stop_when("runs/tiny/metrics.jsonl", process, number)
    assert process.returncode == 75
    assert "run the same command to go on" in said
    assert "Traceback" not in said
    status = json.loads((bittygpt.folder / "runs/tiny/status.json").read_text())
    assert status["state"] == "interrupted"
    assert (bittygpt.folder / "runs/tiny/loss.png").read_bytes().startswith(b"\x89PNG")
    step = status["step"]
    checkpoint = bittygpt.folder / f"runs/tiny/checkpoints/step-{step:08d}"
    assert find_fault(checkpoint) is None
    process = bittygpt.start("train", "tiny.yaml", *long)
    for text in process.stderr:
        if "going on after step" in text:
            break
    process.kill()
    process.communicate()
    assert f"going on after step {step:,}" in text


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(trained, bittygpt):
    shutil.copytree(trained.folder / "runs", bittygpt.folder / "runs")
    (bittygpt.folder / "runs/tiny/checkpoints/step-00000012/model.safetensors").write_bytes(b"half")
    done = bittygpt("train", "tiny.yaml")
    assert "step-00000012: model.safetensors is not what was written" in done.stderr
    assert "going on after step 8" in done.stderr
    assert what_must_agree(bittygpt) == what_must_agree(trained)


def test_a_config_that_no_longer_fits_is_refused_and_fresh_keeps_the_old_run(trained, bittygpt):
    shutil.copytree(trained.folder / "runs", bittygpt.folder / "runs")
    refused = bittygpt("train", "tiny.yaml", "optim.lr=0.5", "model.d_model=32", code=2)
    assert "model.d_model: the checkpoint has 16, the config says 32" in refused.stderr
    assert "optim.lr" in refused.stderr
    assert "--fresh" in refused.stderr
    done = bittygpt("train", "tiny.yaml", "optim.lr=0.02", "--fresh")
    assert "the old run is kept as runs/tiny.1" in done.stderr
    assert what_must_agree(bittygpt, "tiny.1") == what_must_agree(trained)
    assert what_must_agree(bittygpt) != what_must_agree(trained)


def test_json_lines_are_the_metrics_and_an_end(bittygpt):
    done = bittygpt("train", "tiny.yaml", "--json")
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert lines[:-1] == bittygpt.events()
    assert lines[-1]["state"] == "finished"


def test_a_run_whose_reader_leaves_goes_on(bittygpt):
    process = bittygpt.start("train", "tiny.yaml", "--json", "train.max_steps=60")
    assert json.loads(process.stdout.readline())["event"] == "start"
    process.stdout.close()
    with process.stderr:
        said = process.stderr.read()
    assert process.wait(timeout=60) == 0, said
    assert said.count("nobody reads stdout any more") == 1
    assert bittygpt.events()[-1]["step"] == 60
    assert json.loads((bittygpt.folder / "runs/tiny/status.json").read_text())["state"] == "finished"


def test_divergence_is_exit_3_with_the_last_good_checkpoint(bittygpt):
    overrides = [
        "optim.name=sgd",
        "optim.lr=1e30",
        "optim.min_lr=1",
        "optim.grad_clip=0",
        "optim.warmup_steps=6",
    ]
    done = bittygpt("train", "tiny.yaml", *overrides, "train.save_every=1", code=3)
    assert "training diverged: at step" in done.stderr
    assert "the last good checkpoint is runs/tiny/checkpoints/step-0000000" in done.stderr
    assert json.loads((bittygpt.folder / "runs/tiny/status.json").read_text())["state"] == "diverged"


def test_fine_tuning_starts_from_a_checkpoint_and_leaves_the_frozen_weights(trained, bittygpt):
    from safetensors.torch import load_file

    source = trained.folder / "runs/tiny"
    overrides = [f"train.init_from={source}", "train.trainable=['*.ffn.*']", "run.name=tuned"]
    bittygpt("train", "tiny.yaml", *overrides)
    before = load_file(source / "checkpoints/step-00000012/model.safetensors")
    folder = bittygpt.folder / "runs/tuned/checkpoints/step-00000012"
    after = load_file(folder / "model.safetensors")
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if ".ffn." in name}
    assert all(".ffn." in name for name in load_file(folder / "optimizer.safetensors"))
    wrong = bittygpt("train", "tiny.yaml", *overrides[:1], "train.trainable=[nothing]", "run.name=x", code=2)
    assert "train.trainable: no weight is called 'nothing'" in wrong.stderr
    other = bittygpt("train", "tiny.yaml", *overrides[:1], "model.d_model=32", "run.name=x", code=2)
    assert "model.d_model is 16 there and 32 here" in other.stderr


def test_two_ranks_give_the_losses_of_one(bittygpt, trained):
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "bittygpt",
    ]
    done = subprocess.run(
        [*command, "train", "tiny.yaml"],
        cwd=bittygpt.folder,
        env=bittygpt.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    ours = [(e["step"], e["loss"]) for e in bittygpt.events() if e["event"] == "step"]
    theirs = [(e["step"], e["loss"]) for e in trained.events() if e["event"] == "step"]
    assert [step for step, _ in ours] == [step for step, _ in theirs]
    assert [loss for _, loss in ours] == pytest.approx([loss for _, loss in theirs], abs=1e-5)
    assert done.stdout.count("finished after") == 1


def test_help_version_and_unknown_commands(bittygpt):
    assert bittygpt("--version").stdout.startswith("bittygpt ")
    text = bittygpt("--help").stdout
    assert all(verb in text for verb in ("tokenize", "train", "sample", "export"))
    assert "--fresh" in bittygpt("train", "--help").stdout
    assert "No such command" in bittygpt("trian", "tiny.yaml", code=2).stderr


def test_a_finished_run_needs_neither_its_text_nor_its_log(trained, bittygpt):
    for name in ("runs", "data"):
        shutil.copytree(trained.folder / name, bittygpt.folder / name)
    (bittygpt.folder / "text.txt").unlink()
    (bittygpt.folder / "runs/tiny/metrics.jsonl").unlink()
    done = bittygpt("train", "tiny.yaml")
    assert "is finished" in done.stderr
    assert "finished after 12 steps" in done.stdout


def test_a_signal_while_starting_exits_75_without_a_traceback(bittygpt):
    process = bittygpt.start("train", "tiny.yaml")
    said = bittygpt.stop_when("data/tiny", process, signal.SIGTERM)
    assert process.returncode == 75, said
    assert "Traceback" not in said


def test_debug_shows_the_traceback_and_keeps_the_exit_code(bittygpt):
    bittygpt.environment["BITTYGPT_DEBUG"] = "1"
    process = bittygpt.start("train", "nowhere.yaml", "--json")
    out, said = process.communicate()
    assert process.returncode == 2
    assert "Traceback" in said
    assert json.loads(out)["exit_code"] == 2


def test_odd_names_and_forced_colours_change_nothing(bittygpt):
    bittygpt.environment["FORCE_COLOR"] = "1"
    overrides = ["run.name=日本 $x_$", "train.max_steps=1", "optim.warmup_steps=1"]
    done = bittygpt("train", "tiny.yaml", *overrides)
    assert "Warning" not in done.stderr
    assert (bittygpt.folder / "runs/日本 $x_$/loss.png").exists()
