"""RoPE on the joint product of queries, keys and values, in one pass forward and one backward.

    q, k, v side by side  ->  q rotated, k rotated                (v needs nothing done)
    gradients of q rotated, k rotated, v  ->  side by side, those of q and k rotated back

A compiler makes the way back of three pieces with a mask for each and of pairs read number by number, which takes twice
as long as memory does. Here a program does one position: it reads and writes whole rows, pairs lie in one thread, and
the position's cosines and sines are read once for all heads.

Shapes: B batch, T positions, N = B·T, H heads, G key/value heads, d head dimension.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def rotate_heads(
    source: tl.tensor,
    target: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    NUM_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEADS: tl.constexpr,
    FEATURES: tl.constexpr,
) -> None:
    """NUM_HEADS vectors, one behind the other, rotated; HEADS and FEATURES are the next powers of two."""
    head, feature = tl.arange(0, HEADS)[:, None], tl.arange(0, FEATURES)[None, :]
    there = (head < NUM_HEADS) & (feature < HEAD_DIM)
    index = head * HEAD_DIM + feature
    x = tl.load(source + index, mask=there, other=0.0).to(tl.float32)
    even, odd = tl.split(tl.reshape(x, (HEADS, FEATURES // 2, 2)))
    rotated = tl.join(even * cos - odd * sin, even * sin + odd * cos)
    rotated = tl.reshape(rotated, (HEADS, FEATURES)).to(target.dtype.element_ty)
    tl.store(target + index, rotated, mask=there)


@triton.jit
def rotate_kernel(
    queries: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    side_by_side: tl.tensor,
    cos_sin: tl.tensor,
    num_positions: tl.tensor,
    BACK: tl.constexpr,
    NUM_HEADS: tl.constexpr,
    NUM_KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    FEATURES: tl.constexpr,
) -> None:
    """One position of one text. Queries (N, H, d), keys and values (N, G, d), side by side (N, (H + 2G) d)."""
    row = tl.program_id(0).to(tl.int64)  # row · width leaves the range of 32 bits
    queries += row * (NUM_HEADS * HEAD_DIM)
    keys += row * (NUM_KV_HEADS * HEAD_DIM)
    side_by_side += row * ((NUM_HEADS + 2 * NUM_KV_HEADS) * HEAD_DIM)
    keys_beside = side_by_side + NUM_HEADS * HEAD_DIM

    feature = tl.arange(0, FEATURES)
    angles = tl.load(cos_sin + (row % num_positions) * HEAD_DIM + feature, mask=feature < HEAD_DIM, other=0.0)
    cos, sin = tl.split(tl.reshape(angles, (FEATURES // 2, 2)))
    cos, sin = cos[None, :], sin[None, :]
    if BACK:
        rotate_heads(queries, side_by_side, cos, -sin, NUM_HEADS, HEAD_DIM, HEADS, FEATURES)
        rotate_heads(keys, keys_beside, cos, -sin, NUM_KV_HEADS, HEAD_DIM, KV_HEADS, FEATURES)
        size = NUM_KV_HEADS * HEAD_DIM
        index = tl.arange(0, KV_HEADS * FEATURES)
        v = tl.load(values + row * size + index, mask=index < size)
        tl.store(keys_beside + size + index, v, mask=index < size)
    else:
        rotate_heads(side_by_side, queries, cos, sin, NUM_HEADS, HEAD_DIM, HEADS, FEATURES)
        rotate_heads(keys_beside, keys, cos, sin, NUM_KV_HEADS, HEAD_DIM, KV_HEADS, FEATURES)


def _launch(q: Tensor, k: Tensor, v: Tensor, side_by_side: Tensor, cos_sin: Tensor, back: bool) -> None:
    (batch, num_positions, num_heads, head_dim), num_kv_heads = q.shape, k.shape[2]
    with torch.cuda.device_of(q):  # Triton launches on the current device
        rotate_kernel[(batch * num_positions,)](
            q,
            k,
            v,
            side_by_side,
            cos_sin.contiguous(),
            num_positions,
            BACK=back,
            NUM_HEADS=num_heads,
            NUM_KV_HEADS=num_kv_heads,
            HEAD_DIM=head_dim,
            HEADS=triton.next_power_of_2(num_heads),
            KV_HEADS=triton.next_power_of_2(num_kv_heads),
            FEATURES=triton.next_power_of_2(head_dim),
            num_warps=4,
        )


def rotate(side_by_side: Tensor, cos_sin: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor]:
    """Queries, keys and values side by side (B, T, (H + 2G) d) -> queries (B, T, H, d) and keys (B, T, G, d), rotated.

    Args:
        side_by_side: float32 or bfloat16; the arithmetic is float32.
        cos_sin: (T, d/2, 2) float32, of the positions 0..T-1.
        num_heads: H.
        num_kv_heads: G.
    """
    x = side_by_side.contiguous()
    shape, head_dim = x.shape[:2], x.shape[2] // (num_heads + 2 * num_kv_heads)
    q = torch.empty(*shape, num_heads, head_dim, dtype=x.dtype, device=x.device)
    k = torch.empty(*shape, num_kv_heads, head_dim, dtype=x.dtype, device=x.device)
    _launch(q, k, k, x, cos_sin, back=False)
    return q, k


def rotate_back(dq: Tensor, dk: Tensor, dv: Tensor, cos_sin: Tensor) -> Tensor:
    """The gradients of q rotated (B, T, H, d), k rotated and v (B, T, G, d) -> of what lay side by side."""
    batch, num_positions, num_heads, head_dim = dq.shape
    width = (num_heads + 2 * dk.shape[2]) * head_dim
    together = torch.empty(batch, num_positions, width, dtype=dq.dtype, device=dq.device)
    _launch(dq.contiguous(), dk.contiguous(), dv.contiguous(), together, cos_sin, back=True)
    return together


# Operations of PyTorch's, so that `torch.compile` calls them as they stand. To call them without need would load the
# compiler.
rotate_as_operation = torch.library.custom_op("bittygpt::rotate", rotate, mutates_args=())
rotate_back_as_operation = torch.library.custom_op("bittygpt::rotate_back", rotate_back, mutates_args=())


@rotate_as_operation.register_fake
def _(side_by_side: Tensor, _: Tensor, num_heads: int, num_kv_heads: int) -> tuple[Tensor, Tensor]:
    shape, head_dim = side_by_side.shape[:2], side_by_side.shape[2] // (num_heads + 2 * num_kv_heads)
    return (
        side_by_side.new_empty(*shape, num_heads, head_dim),
        side_by_side.new_empty(*shape, num_kv_heads, head_dim),
    )


@rotate_back_as_operation.register_fake
def _(dq: Tensor, dk: Tensor, *_: Tensor) -> Tensor:
    batch, num_positions, num_heads, head_dim = dq.shape
    return dq.new_empty(batch, num_positions, (num_heads + 2 * dk.shape[2]) * head_dim)
