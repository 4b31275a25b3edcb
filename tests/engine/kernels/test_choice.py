"""Where kernels compute: on GPUs on which one has been seen to work. Nothing else needs Triton."""

import subprocess
import sys

import pytest
import torch

from bittygpt.engine import kernels

CPU = torch.device("cpu")


def test_no_kernel_computes_on_a_cpu():
    assert not kernels.work_on(torch.zeros(1))


def test_a_cpu_trains_where_triton_cannot_be_imported():
    code = (
        "import sys\n"
        "sys.modules['triton'] = None\n"
        "import torch\n"
        "from bittygpt.core import ModelConfig, TransformerLM\n"
        "from bittygpt.engine.accelerate import accelerate\n"
        "from bittygpt.engine.optimizers import FusedAdamW\n"
        "model = accelerate(TransformerLM(ModelConfig(20, 8, 16, 1, 2)))\n"
        "ids = torch.zeros(2, 8, dtype=torch.int64)\n"
        "model(ids, targets_BT=ids).backward()\n"
        "FusedAdamW(model.parameters()).step()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def proved(monkeypatch):
    """Whether the kernels are found to work on an Ampere GPU, for which the CPU stands in."""
    pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 alone")
    if torch.cuda.is_available():
        pytest.skip("Triton is not interpreted where there is a GPU")
    from bittygpt.engine.kernels import proof

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    proof._trial.cache_clear()
    yield lambda: proof.proved_on(CPU)
    proof._trial.cache_clear()


def break_it(monkeypatch, launch):
    from bittygpt.engine.kernels import cross_entropy

    monkeypatch.setattr(cross_entropy, "losses_and_gradients_", launch)


def test_a_gpu_is_proved_by_a_loss(proved):
    assert proved()


def test_an_old_gpu_is_not(proved, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not proved()


def test_the_compiler_takes_the_proof_as_it_comes_out(proved):
    def negative_if_proved(x):
        return -x if proved() else x

    compiled = torch.compile(negative_if_proved, backend="aot_eager", fullgraph=True)
    assert compiled(torch.ones(1)) == -1


def test_a_kernel_that_cannot_be_built_is_done_without(proved, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Failed to find C compiler")

    break_it(monkeypatch, fail)
    with pytest.warns(
        UserWarning, match="PyTorch's operations .* on cpu: RuntimeError: Failed to find C compiler"
    ):
        assert not proved()


def test_a_triton_that_cannot_be_imported_is_done_without(proved, monkeypatch):
    monkeypatch.setitem(sys.modules, "bittygpt.engine.kernels.cross_entropy", None)
    with pytest.warns(UserWarning, match="on cpu: ModuleNotFoundError"):
        assert not proved()


def test_a_kernel_that_gives_another_number_is_done_without(proved, monkeypatch):
    break_it(monkeypatch, lambda *_, **__: torch.tensor([0.7]))
    with pytest.warns(UserWarning, match=r"came out as \[0\.69999"):
        assert not proved()


def test_a_full_memory_proves_nothing(proved, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    break_it(monkeypatch, fail)
    with pytest.raises(torch.OutOfMemoryError):
        proved()
