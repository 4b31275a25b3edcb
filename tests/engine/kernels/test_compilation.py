"""Every kernel compiles to machine code for the GPUs it may run on: the interpreter takes what the compiler refuses.

The functions that launch the kernels are called as ever, only that a launch ends once the code is there. Triton brings
NVIDIA's assembler along, so this needs no GPU; it needs a process in which Triton is not interpreted.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it is there for Linux on x86-64 alone")

COMPILE = """
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction
from bittygpt.engine.kernels.adam import Table, adam_
from bittygpt.engine.kernels.cross_entropy import losses_and_gradients_
from bittygpt.engine.kernels.rope import rotate, rotate_back

class GPU:
    "What Triton asks of a driver before it launches."
    def __init__(self, capability): self.capability = capability
    def get_current_target(self): return GPUTarget("cuda", self.capability, 32)
    def get_current_device(self): return self.capability
    def get_current_stream(self, device): return 0

compiled = []
def compile_alone(kernel, grid):
    return lambda *args, **kwargs: compiled.append(kernel.run(*args, grid=grid, warmup=True, **kwargs))
JITFunction.__getitem__ = compile_alone

def number_of_codes(launch, *changing):
    compiled.clear()
    for arguments in changing:
        launch(*arguments)
    assert all(code.asm["cubin"] for code in compiled) and len(compiled) == len(changing)
    return len(set(map(id, compiled)))

for capability in (80, 90):
    driver.set_active(GPU(capability))
    for dtype, vocab_size, size in ((torch.float32, 50257, 999), (torch.bfloat16, 65536, 4096)):
        logits, targets = torch.empty(2, vocab_size, dtype=dtype), torch.zeros(2, dtype=torch.int64)
        for gradients in (False, True):
            launch = lambda index: losses_and_gradients_(logits, targets, index, gradients)
            assert number_of_codes(launch, [-100], [-1]) == 1
        for heads, kv_heads, head_dim in ((12, 12, 64), (8, 2, 128), (3, 1, 48)):
            vectors = torch.empty(1, 4, heads + 2 * kv_heads, head_dim, dtype=dtype)
            q, k, v = vectors.split((heads, kv_heads, kv_heads), dim=2)
            angles = torch.empty(4, head_dim // 2, 2)
            assert number_of_codes(lambda x: rotate(x, angles, heads, kv_heads), [vectors.flatten(2)]) == 1
            assert number_of_codes(lambda q: rotate_back(q, k, v, angles), [q]) == 1
            if head_dim >= 64:
                assert "ld.global.v4.b32" in compiled[0].asm["ptx"], "pairs are read one by one"
        weight, (grad, mean, square) = torch.empty(size, dtype=dtype), torch.empty(3, size)
        launch = lambda count, l2, eps: adam_(
            Table([(weight, grad, mean, square)] * count), [weight], torch.ones(3), (0.9, 0.999), eps, l2
        )
        assert number_of_codes(launch, (1, 0, 1e-8), (2, 1, 1), (16, 0.1, 0)) == 1, "compiled anew within a run"
        assert compiled[0].asm["ptx"].count("ld.global.v4.b32") >= 3, "not as much is read at once as could be"
"""


def test_every_kernel_compiles_once_for_ampere_and_hopper(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
