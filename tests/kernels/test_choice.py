"""Where kernels compute: on GPUs on which one has been seen to work. Nothing else needs Triton."""

import subprocess
import sys

import pytest
import torch

from bittygpt import kernels
from bittygpt.core import twins

CPU = torch.device("cpu")


def test_no_kernel_computes_on_a_cpu():
    assert not kernels.work_on(torch.zeros(1))
    assert not twins.use_kernel(torch.zeros(1))


def test_a_cpu_trains_where_triton_cannot_be_imported():
    code = (
        "import sys\n"
        "sys.modules['triton'] = None\n"
        "import torch\n"
        "from bittygpt.core import AdamW, ModelConfig, TransformerLM, adamw\n"
        "adamw.KERNEL_FROM = 1\n"
        "model, ids = TransformerLM(ModelConfig(20, 8, 16, 1, 2)), torch.zeros(2, 8, dtype=torch.int64)\n"
        "model(ids, targets_BT=ids).backward()\n"
        "AdamW(model.parameters()).step()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def proved(monkeypatch):
    """Of a device of this capability, for which the CPU stands in: whether the kernels are found to work there."""
    pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 alone")
    if torch.cuda.is_available():
        pytest.skip("Triton is not interpreted where there is a GPU")
    monkeypatch.setattr(torch.version, "cuda", "13.0")

    def is_proved(capability=(8, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        return kernels._proved_on.__wrapped__(CPU)

    return is_proved


def break_it(monkeypatch, launch):
    from bittygpt.kernels import cross_entropy

    monkeypatch.setattr(cross_entropy, "losses_and_gradients_", launch)


def test_a_gpu_is_proved_by_a_loss(proved):
    assert proved()
    assert not proved(capability=(7, 5))


def test_a_kernel_that_cannot_be_built_is_done_without(proved, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Failed to find C compiler")

    break_it(monkeypatch, fail)
    with pytest.warns(
        UserWarning, match="PyTorch's operations .* on cpu: RuntimeError: Failed to find C compiler"
    ):
        assert not proved()


def test_a_kernel_that_gives_another_number_is_done_without(proved, monkeypatch):
    break_it(monkeypatch, lambda *_, **__: torch.tensor([0.7]))
    with pytest.warns(UserWarning, match=r"came out as 0\.69999"):
        assert not proved()


def test_a_full_memory_proves_nothing(proved, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    break_it(monkeypatch, fail)
    with pytest.raises(torch.OutOfMemoryError):
        proved()
