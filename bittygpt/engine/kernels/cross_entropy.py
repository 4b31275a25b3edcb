"""Loss and gradient of a row of logits in one kernel, the gradient written over the logits.

    loss = log sum_j exp(x_j) - x_target        dx_j = exp(x_j - log sum_k exp(x_k)) - [j = target]

A program takes one row and goes over it twice: forth for the largest logit and the sum, back for the gradient. A logit
in bfloat16 so costs 6 bytes of traffic, where a float32 tensor operation for each sign costs about 44. The first pass
takes largest and sum together (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", algorithm 3):
whenever a larger logit turns up, the sum so far is scaled to it. Each lane does so for the logits that it comes by, and
all lanes are put together once, after the loop: within it no thread waits for another.

Shapes: N tokens, V vocabulary.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST_BLOCK = 4096  # logits in the registers of one program
LOGITS_PER_WARP = (
    256  # with more, more rows are under way than the cache holds, and the second pass misses it
)


@triton.jit
def loss_kernel(
    logits: tl.tensor,
    targets: tl.tensor,
    losses: tl.tensor,
    vocab_size: tl.tensor,
    ignore_index: tl.tensor,
    GRADIENTS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One row. logits (N, V) contiguous, read and, with GRADIENTS, written; targets (N,) int64; losses (N,) float32."""
    row = tl.program_id(0).to(tl.int64)  # row · V leaves the range of 32 bits
    logits += row * vocab_size
    target = tl.load(targets + row)
    valid = target != ignore_index
    inside = (target >= 0) & (target < vocab_size)
    target_logit = tl.load(logits + target, mask=inside, other=-float("inf")).to(tl.float32)
    lanes = tl.arange(0, BLOCK)

    # The least float32 instead of -inf, for which x - largest would be NaN where x is -inf, too.
    largest = tl.full((BLOCK,), -3.4028234663852886e38, tl.float32)
    sums = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, vocab_size, BLOCK):
        columns = first + lanes
        x = tl.load(
            logits + columns, mask=columns < vocab_size, other=-float("inf"), eviction_policy="evict_last"
        ).to(tl.float32)
        # of exp(largest - new) and exp(x - new), where new is the larger of the two, one is always 1
        above = x - largest
        smaller = tl.exp(-tl.abs(above))
        sums = tl.where(above > 0, sums * smaller + 1.0, sums + smaller)
        largest = tl.maximum(largest, x)
    largest_of_row = tl.max(largest, axis=0)
    log_sum = tl.log(tl.sum(sums * tl.exp(largest - largest_of_row), axis=0))
    loss = log_sum + (largest_of_row - target_logit)
    loss = tl.where(inside, loss, float("nan"))  # no target goes wrong unseen
    tl.store(losses + row, tl.where(valid, loss, 0.0))

    if GRADIENTS:
        # from the end: what was read last is still in the cache, if what is written does not drive it out
        for block in range(tl.cdiv(vocab_size, BLOCK)):
            columns = (tl.cdiv(vocab_size, BLOCK) - 1 - block) * BLOCK + lanes
            x = tl.load(
                logits + columns, mask=columns < vocab_size, other=0.0, eviction_policy="evict_first"
            ).to(tl.float32)
            dx = tl.where(valid, tl.exp((x - largest_of_row) - log_sum), 0.0).to(logits.dtype.element_ty)
            tl.store(logits + columns, dx, mask=columns < vocab_size, eviction_policy="evict_first")
        tl.debug_barrier()  # the target's gradient is written over what another thread has just written
        dx = tl.where(valid, tl.exp((target_logit - largest_of_row) - log_sum) - 1.0, 0.0)
        tl.store(logits + target, dx.to(logits.dtype.element_ty), mask=inside)


def losses_and_gradients_(logits: Tensor, targets: Tensor, ignore_index: int, gradients: bool) -> Tensor:
    """The loss of every row in nats; with `gradients` the logits become the gradients of the losses' sum.

    Args:
        logits: (N, V), float32 or bfloat16; all arithmetic is float32.
        targets: (N,) int64. A row with `ignore_index` has loss and gradient zero.
        ignore_index: the target that is none.
        gradients: whether to write over the logits.

    Returns:
        (N,) float32.
    """
    num_rows, vocab_size = logits.shape
    losses = torch.empty(num_rows, dtype=torch.float32, device=logits.device)
    rows = logits.contiguous()
    block = min(LARGEST_BLOCK, triton.next_power_of_2(vocab_size))
    with torch.cuda.device_of(logits):  # Triton launches on the current device
        loss_kernel[(num_rows,)](
            rows,
            targets.contiguous(),
            losses,
            vocab_size,
            ignore_index,
            GRADIENTS=gradients,
            BLOCK=block,
            num_warps=max(4, block // LOGITS_PER_WARP),
        )
    if gradients and rows is not logits:
        logits.copy_(rows)
    return losses


# An operation of PyTorch's, so that `torch.compile` calls it as it stands and knows that it writes over the logits. To
# call it without need would load the compiler.
as_operation = torch.library.custom_op(
    "bittygpt::losses_and_gradients_", losses_and_gradients_, mutates_args={"logits"}
)


@as_operation.register_fake
def _(logits: Tensor, *_: object) -> Tensor:
    return logits.new_empty(len(logits), dtype=torch.float32)
