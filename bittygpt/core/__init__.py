"""The from-scratch part: every formula of a GPT, on tensors and autograd alone. No disk, terminal or config file."""

from bittygpt.core.activations import gelu, log_softmax, relu, relu2, silu, softmax
from bittygpt.core.adamw import Adam, AdamW
from bittygpt.core.attention import MultiHeadAttention, scaled_dot_product_attention
from bittygpt.core.cross_entropy import IGNORE_INDEX, cross_entropy, entropy, kl_divergence
from bittygpt.core.embedding import Embedding
from bittygpt.core.feed_forward import FeedForward, GatedFeedForward, SwiGLU
from bittygpt.core.grad_clip import clip_grad_norm
from bittygpt.core.linear import Linear
from bittygpt.core.model_config import ModelConfig
from bittygpt.core.muon import Muon
from bittygpt.core.optimizer import Optimizer
from bittygpt.core.rmsnorm import RMSNorm, rms_norm
from bittygpt.core.rope import RotaryEmbedding
from bittygpt.core.schedule import (
    constant_schedule,
    cosine_decay,
    cosine_schedule,
    wsd_decay,
    wsd_schedule,
)
from bittygpt.core.sgd import SGD
from bittygpt.core.transformer import TransformerBlock, TransformerLM

__all__ = [
    "IGNORE_INDEX",
    "SGD",
    "Adam",
    "AdamW",
    "Embedding",
    "FeedForward",
    "GatedFeedForward",
    "Linear",
    "ModelConfig",
    "MultiHeadAttention",
    "Muon",
    "Optimizer",
    "RMSNorm",
    "RotaryEmbedding",
    "SwiGLU",
    "TransformerBlock",
    "TransformerLM",
    "clip_grad_norm",
    "constant_schedule",
    "cosine_decay",
    "cosine_schedule",
    "cross_entropy",
    "entropy",
    "gelu",
    "kl_divergence",
    "log_softmax",
    "relu",
    "relu2",
    "rms_norm",
    "scaled_dot_product_attention",
    "silu",
    "softmax",
    "wsd_decay",
    "wsd_schedule",
]
