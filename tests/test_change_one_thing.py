"""Change one thing in a file of core, and everything else follows: config, plan, training, checkpoints. On copies."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from bittygpt.config.core_names import ACTIVATIONS, OPTIMIZERS, default_d_ff
from bittygpt.core import choices, feed_forward
from tests.copies import ORIGINAL, Copy, run_in_copies

TESTS = Path(__file__).parent
CONFIG = """
data: {train: [text.txt], val_fraction: 0.1}
tokenizer: {vocab_size: 280}
model: {context_length: 16, d_model: 32, num_layers: 2, num_heads: 2}
train: {batch_size: 4, max_steps: 12, eval_every: 6, save_every: 8, log_every: 1, device: cpu}
"""
# what `python -m bittygpt` does, three times in one process to import PyTorch once: trains, goes on from step 8, plans
COMMANDS = """
import shutil, sys
from bittygpt.__main__ import _run
def bittygpt(*arguments):
    sys.argv = ["bittygpt", *arguments, *settings]
    assert _run() == 0
settings = [open("setting.txt").read()]
bittygpt("train", "tiny.yaml")
shutil.copy("runs/tiny/metrics.jsonl", "whole.jsonl")
shutil.rmtree("runs/tiny/checkpoints/step-00000012")
bittygpt("train", "tiny.yaml")
print("PLAN")
bittygpt("train", "tiny.yaml", "--plan", "run.name=planned")
sys.stdout.flush()
"""
MISH = '''

def mish(x: Tensor) -> Tensor:
    """x · tanh(log(1 + exp x)) (Misra 2019)."""
    return x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x)))
'''
RELU2 = "    return relu(x).square()\n"
IMPORT = (
    "feed_forward.py",
    "import Activation, gelu, relu, relu2",
    "import Activation, gelu, mish, relu, relu2",
)
LION = '''"""Lion: a step of one size for every weight, in the direction of a running mean (Chen et al. 2023)."""

from bittygpt.core.activations import upcast
from bittygpt.core.optimizer import Optimizer, zeros_for


class Lion(Optimizer):
    """w <- (1 - lr · decay) w - lr · sign(b1 m + (1 - b1) g);  m <- b2 m + (1 - b2) g."""

    lr_beside_adamw = 0.3

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def update(self, w, g, state, group):
        m, (b1, b2), g = state.setdefault("m", zeros_for(w)), group["betas"], upcast(g)
        state["weight_sum"] = state.get("weight_sum", 0.0) + 1 / 3
        state["count"] = state.get("count", 0) + 1
        assert type(state["count"]) is int
        w.mul_(1 - group["lr"] * group["weight_decay"])
        w.sub_(group["lr"] * (b1 * m + (1 - b1) * g).sign())
        m.copy_(b2 * m + (1 - b2) * g)
'''
CHANGES = {
    "activation": (
        "model.activation=mish",
        [
            ("activations.py", RELU2, RELU2 + MISH),
            IMPORT,
            ("feed_forward.py", '"relu2": relu2}', '"relu2": relu2, "mish": mish}'),
        ],
    ),
    "gate": (
        "model.activation=mishglu",
        [
            ("activations.py", RELU2, RELU2 + MISH),
            IMPORT,
            ("feed_forward.py", '"reglu": relu}', '"reglu": relu, "mishglu": mish}'),
        ],
    ),
    "a gate with another name": (
        "model.activation=swishbeta",
        [
            (
                "feed_forward.py",
                '"reglu": relu}',
                '"reglu": relu, "swishbeta": lambda x: x * (1.7 * x).sigmoid()}',
            )
        ],
    ),
    "norm": (
        "model.norm_eps=1e-5",
        [
            (
                "rmsnorm.py",
                "        self.weight = nn.Parameter(torch.ones(d_model))\n",
                "        self.weight = nn.Parameter(torch.ones(d_model))\n"
                "        self.bias = nn.Parameter(torch.zeros(d_model))\n",
            ),
            (
                "rmsnorm.py",
                "        return rms_norm(x, self.weight, self.eps)",
                "        return rms_norm(x - x.mean(-1, True), self.weight, self.eps) + self.bias",
            ),
        ],
    ),
    "norm without a gain": (
        "model.qk_norm=true",
        [
            ("rmsnorm.py", "        self.weight = nn.Parameter(torch.ones(d_model))\n", ""),
            ("rmsnorm.py", "rms_norm(x, self.weight, self.eps)", "rms_norm(x, x.new_ones(()), self.eps)"),
        ],
    ),
    "positions": (
        "model.tie_embeddings=true",
        [
            (
                "transformer.py",
                "        rope = RotaryEmbedding(config.d_model // config.num_heads, config.context_length, "
                "config.rope_theta)\n",
                "        self.positions = Embedding(config.context_length, config.d_model, std)\n",
            ),
            ("transformer.py", "TransformerBlock(config, rope) for", "TransformerBlock(config, None) for"),
            (
                "transformer.py",
                "        x_BTD = self.token_embeddings(ids_BT)\n",
                "        x_BTD = self.token_embeddings(ids_BT) + self.positions.weight[: ids_BT.shape[1]]\n",
            ),
        ],
    ),
    "loss": (
        "optim.name=muon",
        [
            (
                "cross_entropy.py",
                "    losses = losses.masked_fill(~valid, 0.0)\n",
                "    losses = losses + 1e-2 * upcast(logits).logsumexp(-1).square()\n"
                "    losses = losses.masked_fill(~valid, 0.0)\n",
            )
        ],
    ),
    "optimizer": (
        "optim.name=lion",
        [
            ("lion.py", "", LION),
            (
                "choices.py",
                "from bittygpt.core.muon",
                "from bittygpt.core.lion import Lion\nfrom bittygpt.core.muon",
            ),
            ("choices.py", '"sgd": SGD}', '"sgd": SGD, "lion": Lion}'),
        ],
    ),
}
D_FF = {"activation": 128}  # 4 · 32; with a gate the multiple of 64 next to 8/3 · 32
FIGURES = {"norm": 5 * 2 * 32, "norm without a gain": 0, "positions": 5 * 32}


def events(path):
    lines = map(json.loads, path.read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if line["event"] == "step"}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Those that have trained, by what was changed."""
    made = {}
    for name, (setting, edits) in CHANGES.items():
        made[name] = Copy(tmp_path_factory.mktemp("copy"))
        for edit in edits:
            made[name].edit(*edit)
        (made[name].folder / "tiny.yaml").write_text(CONFIG)
        (made[name].folder / "setting.txt").write_text(setting)
    script = tmp_path_factory.mktemp("script") / "commands.py"
    script.write_text(COMMANDS)
    run_in_copies(script, made.values())
    return made


@pytest.mark.parametrize("name", CHANGES)
def test_one_thing_is_changed_and_all_else_follows(copies, name):
    copy, folder = copies[name], copies[name].folder
    *chosen, _ = sorted(copy.edited_lines().values())
    assert chosen in ([], [0], [1]), "one file, and a line where it is chosen"
    for file, *_ in CHANGES[name][1]:
        assert f"core/{file} was changed" in (folder / "stderr.txt").read_text()

    whole, resumed = events(folder / "whole.jsonl"), events(folder / "runs/tiny/metrics.jsonl")
    assert whole == resumed, "a resumed run has all of its optimizer's state"
    assert all(map(math.isfinite, whole.values()))
    assert whole[12] < whole[1] - 0.5

    checkpoint = folder / "runs/tiny/checkpoints/step-00000012"
    weights = load_file(checkpoint / "model.safetensors")
    kept = load_file(checkpoint / "optimizer.safetensors")
    assert {key.rsplit("/", 1)[0] for key in kept} == weights.keys(), "every parameter has an optimizer"
    config = yaml.safe_load((checkpoint / "config.yaml").read_text())
    assert config["model"]["d_ff"] == D_FF.get(name, 64)
    if name == "optimizer":
        assert config["optim"]["lr"] == pytest.approx(0.3 * 0.6 / 32, rel=0.02)

    plan = (folder / "stdout.txt").read_text().partition("PLAN")[2].splitlines()
    figures = {line.split()[0]: line.split()[1].replace(",", "") for line in plan if len(line.split()) > 1}
    assert int(figures["norms"]) == FIGURES.get(name, 5 * 32)
    assert figures["all"].isdigit()
    assert f"  all           {sum(w.numel() for w in weights.values()):,}" in "\n".join(plan)
    size = sum((checkpoint / f"{file}.safetensors").stat().st_size for file in ("model", "optimizer"))
    assert float(figures["checkpoint"]) == pytest.approx(size / 1000, abs=15)
    if name == "positions":
        assert int(figures["embedding"]) == (280 + 16) * 32


def test_the_names_that_everybody_knows_are_those_of_core():
    assert list(ACTIVATIONS.well_known) == ACTIVATIONS.of_core()
    assert list(OPTIMIZERS.well_known) == OPTIMIZERS.of_core()
    for name in ACTIVATIONS.well_known:
        for d_model in range(1, 300):
            assert default_d_ff(d_model, name) == feed_forward.default_d_ff(d_model, name)


def test_schema_and_faults_name_what_core_has(monkeypatch):
    from bittygpt.config.run_config import RunConfig, schema_text

    monkeypatch.setitem(feed_forward.PLAIN, "mish", feed_forward.relu)
    monkeypatch.setitem(choices.OPTIMIZERS, "lion", choices.SGD)
    sections = json.loads(schema_text())["$defs"]
    assert sections["ModelSection"]["properties"]["activation"]["enum"][-1] == "mish"
    assert sections["OptimSection"]["properties"]["name"]["enum"][-1] == "lion"
    with pytest.raises(ValueError, match="'sgd' or 'lion'"):
        RunConfig.model_validate({"data": {"train": "a"}, "optim": {"name": "lyon"}})
    lion = RunConfig.model_validate({"data": {"train": "a"}, "optim": {"name": "lion"}})
    assert lion.optim.lr == 2.3e-3


def test_the_edits_in_cores_readme_are_of_lines_that_stand_there():
    text = (ORIGINAL / "core/README.md").read_text()
    sources = "\n".join(path.read_text() for path in (ORIGINAL / "core").glob("*.py")).splitlines()
    diffs = re.findall(r"```diff\n(.*?)```", text, flags=re.DOTALL)
    removed = [line[1:] for diff in diffs for line in diff.splitlines() if line[0] in "- "]
    assert len(diffs) == 6
    assert set(removed) <= set(sources)
    for folder, readme in (("core/", text), ("engine/", (ORIGINAL / "engine/README.md").read_text())):
        for file, name in re.findall(r"`(?:tests/)?(?:core/)?(test_\w+\.py)(?:::(\w+))?`", readme):
            (path,) = [
                p for p in TESTS.rglob(file) if p.parent == TESTS or {folder[:-1], "core"} & set(p.parts)
            ]
            assert f"def {name}" in path.read_text()
