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
from bittygpt.core.schedule import constant_schedule, cosine_decay, cosine_schedule, wsd_decay, wsd_schedule
from bittygpt.core.sgd import SGD
from bittygpt.core.transformer import TransformerBlock, TransformerLM
