"""Ten edits of one line of core: what is trained is what was edited, and what was not edited stays fast. On copies."""

import json
from pathlib import Path

import pytest

from tests.copies import Copy, run_in_copies

NORM, GATE, SWIGLU = {"RMSNormFunction"}, {"SiLUGate"}, {"NormAndSwiGLU"}
QKV, LOSS = {"NormAndAttention"}, {"LinearCrossEntropy"}
SCORES = {"OrByTheFormula"}  # where they are apart from a half of the block
OPTIMIZER = {"fused optimizer"}
ALL = NORM | SWIGLU | QKV | LOSS | OPTIMIZER
# file of core, a text of it, what is to stand there, and what is still computed by fast paths
EDITS = {
    "none": ("", "", "", ALL),
    "activation": (
        "activations.py",
        "return x * torch.sigmoid(x)",
        "return x * torch.tanh(torch.log1p(x.exp()))",
        ALL - SWIGLU,
    ),
    "gate": (
        "feed_forward.py",
        "self.activation(self.w1(x)) * self.w3(x)",
        "self.activation(self.w1(x)) * (1 + self.w3(x))",
        ALL - SWIGLU,
    ),
    "norm": (
        "rmsnorm.py",
        "x32.square().mean(",
        "x32.abs().mean(",
        ALL - NORM - QKV - SWIGLU | GATE | SCORES,
    ),
    "RoPE's exponent": ("rope.py", "(-pair / self.head_dim)", "(-2 * pair / self.head_dim)", ALL),
    "attention's scale": (
        "attention.py",
        "/ math.sqrt(q.shape[-1])",
        "/ q.shape[-1]",
        ALL - QKV,
    ),
    "mask": (
        "attention.py",
        ".tril(num_keys - num_queries)",
        ".tril(num_keys - num_queries).triu(num_keys - num_queries - 3)",
        ALL - QKV,
    ),
    "loss with smoothing": (
        "cross_entropy.py",
        "targets.masked_fill(~valid, 0).unsqueeze(-1)).squeeze(-1)",
        "targets.masked_fill(~valid, 0).unsqueeze(-1)).squeeze(-1) * 0.9 - log_p.mean(-1) * 0.1",
        ALL - LOSS,
    ),
    "no bias correction": (
        "adamw.py",
        'm_hat = m / (1 - beta1 ** state["step"])',
        "m_hat = m",
        ALL - OPTIMIZER,
    ),
    "residual": (
        "transformer.py",
        "x_BTD = x_BTD + self.attn(self.ln1(x_BTD))",
        "x_BTD = x_BTD + 0.5 * self.attn(self.ln1(x_BTD))",
        ALL - QKV - SWIGLU | GATE | SCORES,
    ),
    "initialisation": ("linear.py", "std = math.sqrt(2 / (d_in + d_out))", "std = 0.02", ALL),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What each copy printed, by the name of the edit."""
    copies = {}
    for name, (file, old, new, _) in EDITS.items():
        copies[name] = Copy(tmp_path_factory.mktemp("copy"))
        if old:
            copies[name].edit(file, old, new)
    run_in_copies(Path(__file__).with_name("edits_of_core_run.py"), copies.values())
    found = {
        name: json.loads((copy.folder / "stdout.txt").read_text().splitlines()[-1])
        for name, copy in copies.items()
    }
    for name, run in found.items():
        assert Path(run["package"]).parent == copies[name].core.parent
    return found


@pytest.mark.parametrize("name", EDITS)
def test_what_is_trained_is_what_was_edited_and_the_rest_stays_fast(runs, name):
    file, old, _, fast = EDITS[name]
    run = runs[name]
    assert run["fast"] == pytest.approx(run["formula"], rel=2e-5)
    assert run["calls_by_formulas"] == {}
    assert run["calls"].keys() == fast
    assert any(f"core/{file}" in note for note in run["notes"]) == bool(old)
    assert len(run["notes"]) == bool(old)
    if old:
        assert run["formula"][-1] != pytest.approx(runs["none"]["formula"][-1], rel=1e-4)
