"""`bittygpt train --plan` through the real command line: what it says, and that it leaves no trace."""

import json
import shutil

import pytest


def everything(folder):
    """All files and folders with size and time of change."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def planned(line, *arguments, code=0):
    """The plan as JSON; nothing on the disk may have changed."""
    before = everything(line.folder)
    done = line("train", "tiny.yaml", *arguments, "--plan", "--json", code=code)
    assert everything(line.folder) == before
    return json.loads(done.stdout.splitlines()[0])


def test_a_new_run_is_planned_without_a_trace(bittygpt):
    plan = planned(bittygpt)
    assert (plan["step"], plan["of"], plan["time"]["steps_left"]) == (0, 12, 12)
    assert (plan["time"]["evaluations"], plan["time"]["saves"]) == (2, 3)
    assert plan["time"]["total"] == pytest.approx(
        sum(plan["time"][part] for part in ("start", "end"))
        + sum(
            plan["time"][many] * plan["time"][one]
            for many, one in (("steps_left", "step"), ("evaluations", "evaluation"), ("saves", "save"))
        )
    )
    assert plan["tokens_per_second"] == pytest.approx(4 * 16 / plan["time"]["step"])
    assert plan["batch"] == {"batch_size": 4, "world_size": 1, "micro_batch_size": 4, "accumulation": 1}
    assert plan["data"]["is_estimate"]
    assert plan["data"]["epochs"] > 0
    assert plan["memory"]["measured"]
    assert 0.1e9 < plan["memory"]["process"] < plan["memory"]["peak"] < plan["memory"]["available"]
    assert plan["finish"] is not None
    assert plan["faults"] == []
    assert not list(bittygpt.folder.glob("runs*"))
    assert not list(bittygpt.folder.glob("data*"))


def test_an_unfinished_run_is_planned_from_where_it_stands(trained, bittygpt):
    for name in ("runs", "data"):
        shutil.copytree(trained.folder / name, bittygpt.folder / name)
    shutil.rmtree(bittygpt.folder / "runs/tiny/checkpoints/step-00000012")
    plan = planned(bittygpt)
    assert (plan["step"], plan["time"]["steps_left"], plan["time"]["evaluations"], plan["time"]["saves"]) == (
        8,
        4,
        1,
        1,
    )
    assert plan["memory"]["first_weights"] == 0
    assert not plan["data"]["is_estimate"]
    fresh = planned(bittygpt, "--fresh")
    assert fresh["step"] == 0
    assert fresh["disk"]["there"] == 0, "the old run's checkpoints are kept beside the new one's"
    refused = bittygpt("train", "tiny.yaml", "optim.lr=0.5", "--plan", code=2)
    assert "does not fit the config" in refused.stderr


def test_a_finished_run_has_nothing_left_and_its_checkpoint_is_as_large_as_planned(trained):
    plan = planned(trained)
    assert (plan["time"], plan["measured"]) == (None, None)
    checkpoint = trained.folder / "runs/tiny/checkpoints/step-00000012"
    size = sum(file.stat().st_size for file in checkpoint.iterdir())
    assert plan["disk"]["checkpoint"] == pytest.approx(size, rel=0.01)
    assert plan["disk"]["there"] == 2
    text = trained("train", "tiny.yaml", "--plan").stdout
    assert "finished" in text
    manifest = json.loads((trained.folder / "data/tiny/manifest.json").read_text())
    assert plan["data"]["tokens"] == manifest["splits"]["train"]["tokens"]


def test_in_a_pipe_it_is_aligned_lines_of_80_columns(bittygpt):
    done = bittygpt("train", "tiny.yaml", "--plan")
    lines = done.stdout.splitlines()
    assert lines[0] == "runs/tiny"
    assert max(map(len, lines)) <= 80
    for part in (
        "finish",
        "tokens/s",
        "evaluations",
        "micro-batch",
        "activations",
        "peak",
        "embedding",
        "head",
        "projections",
        "checkpoint",
        "free",
        "epochs",
        "bittygpt tokenize",
    ):
        assert part in done.stdout, part
    assert "measuring" in done.stderr
    on_paper = bittygpt("train", "tiny.yaml", "--plan", "--world-size", "4", "--device-name", "A100")
    assert max(map(len, on_paper.stdout.splitlines())) <= 80
    for part in ("4 x A100", "DDP", "FSDP2", "sent by a rank", "multiple of 4", "assumed", "GB/s"):
        assert part in on_paper.stdout, part


def test_many_devices_are_planned_for_on_paper(bittygpt):
    plan = planned(
        bittygpt, "train.batch_size=64", "--world-size", "16", "--device-name", "H100", "--bandwidth", "10"
    )
    assert plan["batch"]["world_size"] == 16
    assert [rank["parallel"] for rank in plan["ranks"]] == ["ddp", "fsdp"]
    weights = plan["parameters"]["total"] * 4
    assert plan["ranks"][0]["bytes_sent_per_step"] == pytest.approx(2 * 15 / 16 * weights, abs=1)
    assert plan["rates"]["link"] == 10e9
    assert plan["measured"] is None
    assert planned(bittygpt, "--world-size", "2")["measured"]["step"] > 0


def test_what_cannot_work_is_said_with_exit_code_2(bittygpt):
    batch = bittygpt("train", "tiny.yaml", "--plan", "--world-size", "3", "--device-name", "H100", code=2)
    assert "make it a multiple of 3" in batch.stderr
    on_paper = bittygpt(
        "train",
        "tiny.yaml",
        "model.d_model=16384",
        "model.num_layers=8",
        "--plan",
        "--device-name",
        "L4",
        "--json",
        code=2,
    )
    plan, error = (json.loads(text) for text in on_paper.stdout.splitlines())
    assert "make the model smaller" in plan["faults"][0]
    assert (error["error"], error["exit_code"]) == ("ConfigError", 2)
    here = bittygpt("train", "tiny.yaml", "model.d_model=65536", "model.num_layers=64", "--plan", code=2)
    assert "by this plan the run cannot work" in here.stderr
    assert "memory: a step needs about" in here.stderr
    assert "parameters" in here.stdout
    assert "tokens/s" not in here.stdout
    code, _ = bittygpt.unread("train", "tiny.yaml", "model.d_model=65536", "model.num_layers=64", "--plan")
    assert code == 2  # also where nobody reads the plan


def test_the_options_of_a_plan_go_with_a_plan(bittygpt):
    assert (
        "--world-size goes with --plan" in bittygpt("train", "tiny.yaml", "--world-size", "2", code=2).stderr
    )
    assert "--plan" in bittygpt("train", "--help").stdout


def test_a_time_budget_says_how_many_steps_there_will_be(bittygpt):
    budget = ("train.max_steps=null", "train.time_budget=60s")
    plan = planned(bittygpt, *budget)
    assert plan["of"] == plan["time"]["steps_left"] > 12
    assert plan["time"]["total"] == pytest.approx(60, rel=0.1)
