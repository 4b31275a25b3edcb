"""Commands for which memory runs out: what PyTorch says then is planted, the rest is the real command line."""

import json
import sys

import pytest

PLANT = """
import sys
import {module} as module

def refuse(*arguments, **named):
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

module.{name} = refuse
from bittygpt.__main__ import main
sys.argv = ["bittygpt", *{arguments}]
main()
"""
SAMPLE = [
    "sample",
    "--ckpt",
    "runs/tiny",
    "--device",
    "cpu",
    "--prompt",
    "the",
    "--max-tokens",
    "5",
    "--json",
]
TRAIN = ["train", "tiny.yaml", "run.name=large", "--json"]
EXPORT = ["export", "--ckpt", "runs/tiny", "--format", "hf", "--out", "out", "--no-verify", "--json"]


@pytest.mark.parametrize(
    ("module", "name", "arguments", "words"),
    [
        ("bittygpt.commands.train_setup", "_build", TRAIN, ("on cpu", "weights 0.00 GB", "model.d_model")),
        ("bittygpt.commands.sample.command", "load_checkpoint", SAMPLE, ("weights take", "--num-samples")),
        (
            "bittygpt.sampling.decoding.kv_cache",
            "KeyValueCache.set_length",
            SAMPLE,
            ("keys and values of 6", "cpu"),
        ),
        ("bittygpt.commands.export", "load_checkpoint", EXPORT, ("weights take", "--no-verify")),
        ("bittygpt.commands.export_formats", "huggingface_weights", EXPORT, ("weights take", "--no-verify")),
    ],
)
def test_no_memory_is_exit_4_and_says_what_took_it(trained, module, name, arguments, words):
    code = PLANT.format(module=module, name=name, arguments=arguments)
    done = trained.run(sys.executable, "-c", code)
    assert done.returncode == 4, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("bittygpt: ")]
    assert all(word in message for word in ("out of memory", *words))
    assert json.loads(done.stdout)["exit_code"] == 4
    assert not (trained.folder / "out").exists()
