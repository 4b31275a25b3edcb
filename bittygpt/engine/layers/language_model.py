"""The language model with the chunked loss, which never holds all logits."""

import torch
from torch import Tensor

from bittygpt.core.cross_entropy import Reduction
from bittygpt.core.transformer import TransformerLM
from bittygpt.engine.dispatch import are_plain, runs_eagerly
from bittygpt.engine.formulas import Proof
from bittygpt.engine.layers.loss import chunked_linear_cross_entropy, chunked_token_losses
from bittygpt.engine.layers.products import LINEAR, matrices

MODEL: tuple[str, ...] = (
    "transformer.py:TransformerLM",
    "transformer.py:TransformerLM.logits",
    "transformer.py:TransformerLM.loss",
)
MODEL += ("transformer.py:TransformerLM.output_weight", "cross_entropy.py:cross_entropy")
MODEL += ("cross_entropy.py:IGNORE_INDEX",)
SOFTMAX = ("activations.py:log_softmax", "activations.py:minus_largest", "activations.py:upcast")
PROOF = Proof(*MODEL, *SOFTMAX, *LINEAR)


class FusedTransformerLM(TransformerLM):
    """The model, whose loss holds only some of the logits."""

    formula = TransformerLM
    for_compiler = False

    def loss(self, hidden_BTD: Tensor, targets_BT: Tensor, reduction: Reduction) -> Tensor:
        """How surprised the model is by the targets, after what it has made of the positions before them."""
        eager = runs_eagerly()
        suits = (
            self.suits(hidden_BTD, targets_BT)
            if eager
            else self.for_compiler and torch.compiler.is_compiling()
        )
        if suits and reduction == "sum":
            return chunked_linear_cross_entropy(hidden_BTD, self.output_weight, targets_BT)
        if suits and reduction == "none" and not torch.is_grad_enabled():
            return chunked_token_losses(hidden_BTD, self.output_weight, targets_BT)
        return super().loss(hidden_BTD, targets_BT, reduction)

    def suits(self, hidden_BTD: Tensor, targets_BT: Tensor) -> bool:
        """Whether the head is one product, and the loss of it that which was proved."""
        weight = self.output_weight
        return (
            self.head_is_a_product()
            and are_plain(hidden_BTD, targets_BT, weight)
            and hidden_BTD.numel() > 0
            and torch.float64 not in (hidden_BTD.dtype, weight.dtype)
        )

    def prepare_for_compile(self) -> None:
        """Decide for the compiler."""
        self.for_compiler = self.head_is_a_product()

    def head_is_a_product(self) -> bool:
        """Whether the logits are made, and their loss, as when it was proved."""
        head = [] if self.lm_head is None else [self.lm_head]
        return PROOF.holds() and matrices(*head) is not None and "logits" not in vars(self)
