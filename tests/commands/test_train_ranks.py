"""Several processes train one model: what one process would have made, whoever fails, dies, or comes back."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

CONFIG = """
data: {train: [text.txt], val_fraction: 0.1, windows: documents}
tokenizer: {vocab_size: 280}
model: {context_length: 48, d_model: 16, num_layers: 2, num_heads: 2, d_ff: 33, tie_embeddings: true}
optim: {lr: 1e-2, warmup_steps: 2}
train: {batch_size: 8, micro_batch_size: 1, max_steps: 50, eval_every: 20, save_every: 10, keep: 20, log_every: 1,
        device: cpu}
"""


def losses(line, name):
    return [(e["step"], e["loss"]) for e in line.events(name) if e["event"] == "step"]


def batches(line, name):
    return [e["batch_hash"] for e in line.events(name) if e["event"] == "step"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start_ranks(line, count, *arguments, folders=None):
    """`count` processes as `srun` would start them, each told its rank by the environment."""
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "bittygpt", "train", "ranks.yaml", *arguments],
            cwd=(folders or {}).get(rank, line.folder),
            env={**line.environment, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finish(processes, timeout=120):
    said = [process.communicate(timeout=timeout) for process in processes]
    return [process.returncode for process in processes], said


def torchrun(*options):
    return [sys.executable, "-m", "torch.distributed.run", *options, "-m", "bittygpt", "train", "ranks.yaml"]


@pytest.fixture(scope="module")
def alone(command_line, tmp_path_factory):
    """A folder in which one process has trained `runs/alone`, and from whose tokens others can train."""
    line = command_line(tmp_path_factory.mktemp("ranks"))
    (line.folder / "ranks.yaml").write_text(CONFIG + "run: {name: alone}\n")
    line("train", "ranks.yaml", "data.dir=tokens")
    return line


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("count", [2, 4])
def test_the_losses_are_those_of_one_process(alone, count, parallel):
    """Documents end anywhere in a window, so the ranks have different numbers of targets."""
    name = f"{parallel}{count}"
    processes = start_ranks(alone, count, "data.dir=tokens", f"run.name={name}", f"train.parallel={parallel}")
    codes, said = finish(processes)
    assert codes == [0] * count, said
    assert [out for out, _ in said[1:]] == [""] * (count - 1), "rank 0 alone talks"
    assert "finished after 50 steps" in said[0][0]
    expected, got = losses(alone, "alone"), losses(alone, name)
    assert [step for step, _ in got] == list(range(1, 51))
    assert [loss for _, loss in got] == pytest.approx([loss for _, loss in expected], abs=1e-5)
    assert batches(alone, name) == batches(alone, "alone")
    evals = [[e["val_loss"] for e in alone.events(run) if e["event"] == "eval"] for run in (name, "alone")]
    assert evals[0] == pytest.approx(evals[1], abs=1e-5)

    if count == 2:  # on from its step 20, alone and with four
        checkpoints = alone.folder / f"runs/{name}/checkpoints"
        for other in (1, 4):
            again = alone.folder / f"runs/{name}to{other}"
            shutil.copytree(checkpoints / "step-00000020", again / "checkpoints/step-00000020")
            shutil.copy(alone.folder / f"runs/{name}/metrics.jsonl", again)
            codes, said = finish(
                start_ranks(
                    alone,
                    other,
                    "data.dir=tokens",
                    f"run.name={again.name}",
                    f"train.parallel={parallel}",
                )
            )
            assert codes == [0] * other, said
            assert "going on after step 20" in said[0][1]
            assert batches(alone, again.name) == batches(alone, "alone")
            resumed = [loss for _, loss in losses(alone, again.name)]
            assert resumed == pytest.approx([loss for _, loss in expected], abs=1e-5)


def test_muon_on_shared_out_matrices_makes_the_losses_of_one_process(alone):
    muon = ("optim.name=muon", "data.dir=tokens", "train.max_steps=10", "train.eval_every=10")
    alone("train", "ranks.yaml", *muon, "run.name=muon")
    for parallel in ("ddp", "fsdp"):
        name = f"muon-{parallel}"
        codes, said = finish(start_ranks(alone, 2, *muon, f"run.name={name}", f"train.parallel={parallel}"))
        assert codes == [0, 0], said
        for (step, loss), (_, expected) in zip(losses(alone, name), losses(alone, "muon"), strict=True):
            assert loss == pytest.approx(expected, abs=1e-5), (parallel, step)


def test_three_ranks_that_were_stopped_end_bit_for_bit_like_three_that_were_not(alone):
    """With three, the sum of the gradients depends on the order in which DDP exchanges them."""
    settings = ["data.dir=tokens", "train.batch_size=9", "train.parallel=ddp"]
    results = []
    for name in ("whole3", "cut3"):
        if name == "cut3":  # as if killed after step 20
            source = alone.folder / "runs/whole3"
            shutil.copytree(
                source / "checkpoints/step-00000020", alone.folder / "runs/cut3/checkpoints/step-00000020"
            )
            shutil.copy(source / "metrics.jsonl", alone.folder / "runs/cut3")
        codes, said = finish(start_ranks(alone, 3, *settings, f"run.name={name}"))
        assert codes == [0] * 3, said
        last = alone.folder / f"runs/{name}/checkpoints/step-00000050"
        results.append((losses(alone, name), (last / "model.safetensors").read_bytes()))
    assert results[0] == results[1]


def test_a_rank_that_fails_before_the_ranks_have_met_is_heard(alone, tmp_path):
    environment = {**alone.environment, "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    command = [sys.executable, "-m", "bittygpt", "train", "nowhere.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "bittygpt: rank 1 on " in done.stderr
    assert "nowhere.yaml" in done.stderr


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_signal_to_all_ranks_saves_a_checkpoint_and_exits_75(alone, parallel):
    long = ["train.max_steps=100000", "train.save_every=100000", "train.eval_every=100000", "data.dir=tokens"]
    name = f"stopped-{parallel}"
    processes = start_ranks(alone, 2, *long, f"run.name={name}", f"train.parallel={parallel}")
    alone.wait_for(f"runs/{name}/metrics.jsonl", processes[0])
    for process in processes:
        process.send_signal(signal.SIGTERM)
    codes, said = finish(processes)
    assert codes == [75, 75], said
    status = json.loads((alone.folder / f"runs/{name}/status.json").read_text())
    assert status["state"] == "interrupted"
    assert status["checkpoint"].endswith(f"step-{status['step']:08d}")


def test_an_error_on_one_rank_ends_all_with_its_message(alone, tmp_path):
    """Rank 1 stands on a machine that has no share in the folder with the tokens."""
    shutil.copy(alone.folder / "ranks.yaml", tmp_path)
    shutil.copy(alone.folder / "text.txt", tmp_path)
    begun = time.monotonic()
    processes = start_ranks(alone, 2, "data.dir=tokens", "run.name=failed", folders={1: tmp_path})
    codes, said = finish(processes)
    assert codes == [2, 2], said
    assert "rank 1 on " in said[0][1]
    assert "tokens" in said[0][1]
    assert "Traceback" not in said[0][1] + said[1][1]
    assert time.monotonic() - begun < 30


def test_a_rank_that_is_killed_ends_the_others_with_a_message(alone):
    long = ["train.max_steps=100000", "train.eval_every=100000", "data.dir=tokens", "run.name=lost"]
    processes = start_ranks(alone, 2, *long)
    alone.wait_for("runs/lost/metrics.jsonl", processes[0])
    processes[1].kill()
    codes, said = finish(processes, timeout=30)
    assert codes == [1, -signal.SIGKILL]
    assert "lost its connection to another rank" in said[0][1]
    assert json.loads((alone.folder / "runs/lost/status.json").read_text())["state"] == "failed"


def test_torchrun_starts_the_ranks_again_after_one_was_killed(alone):
    command = torchrun("--standalone", "--nproc-per-node=2", "--max-restarts=3")
    process = subprocess.Popen(
        [*command, "data.dir=tokens", "run.name=elastic", "train.max_steps=50"],
        cwd=alone.folder,
        env=alone.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    alone.wait_for("runs/elastic/checkpoints/step-*10", process)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "going on after step" in said
    assert [loss for _, loss in losses(alone, "elastic")] == pytest.approx(
        [loss for _, loss in losses(alone, "alone")], abs=1e-5
    )
    assert batches(alone, "elastic") == batches(alone, "alone")


@pytest.fixture
def two_machines():
    """Prefix, address, interface of two networks with a cable between; without root, this machine twice."""
    names = [f"bittygpt-{os.getpid()}-{n}" for n in (1, 2)]
    cable = [f"bitty{os.getpid() % 100000}{end}" for end in "ab"]
    addresses = [f"10.231.7.{n}" for n in (1, 2)]
    commands = [["ip", "netns", "add", name] for name in names]
    commands += [["ip", "link", "add", cable[0], "type", "veth", "peer", "name", cable[1]]]
    for name, end, address in zip(names, cable, addresses, strict=True):
        inside = ["ip", "-n", name]
        commands += [
            ["ip", "link", "set", end, "netns", name],
            [*inside, "addr", "add", f"{address}/24", "dev", end],
            [*inside, "link", "set", end, "up"],
            [*inside, "link", "set", "lo", "up"],
        ]
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
        yield [
            (["ip", "netns", "exec", name], address, end)
            for name, address, end in zip(names, addresses, cable, strict=True)
        ]
    except (OSError, subprocess.CalledProcessError):
        yield [([], "127.0.0.1", "lo")] * 2
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_two_machines_make_one_run(alone, two_machines):
    port, master = free_port(), two_machines[0][1]
    processes = [
        subprocess.Popen(
            [
                *prefix,
                *torchrun(
                    *("--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1", f"--local-addr={address}"),
                    *(f"--master-addr={master}", f"--master-port={port}"),
                ),
                *("data.dir=tokens", "run.name=nodes"),
            ],
            cwd=alone.folder,
            env={**alone.environment, "GLOO_SOCKET_IFNAME": interface},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node, (prefix, address, interface) in enumerate(two_machines)
    ]
    codes, said = finish(processes)
    assert codes == [0, 0], said
    got = [loss for _, loss in losses(alone, "nodes")]
    assert got == pytest.approx([loss for _, loss in losses(alone, "alone")], abs=1e-5)
    assert "finished after 50 steps" in said[0][0]
    assert said[1][0] == ""


def test_the_clock_of_rank_0_ends_the_run_for_all(alone):
    time = ["run.name=on-time", "data.dir=tokens", "train.time_budget=14s", "train.max_steps=null"]
    codes, said = finish(start_ranks(alone, 2, *time))
    assert codes == [0, 0], said
    last = [e for e in alone.events("on-time") if e["event"] == "step"][-1]
    assert last["lr"] == pytest.approx(1e-3)
    if "the evaluation was broken off" not in said[0][1]:  # where the start took all the time
        assert [e["step"] for e in alone.events("on-time") if e["event"] == "eval"][-1] == last["step"]
    assert (alone.folder / f"runs/on-time/checkpoints/step-{last['step']:08d}").is_dir()
