"""The names that core has for what a config may choose. PyTorch is loaded only for one that not everybody knows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import CoreSchema, PydanticKnownError, core_schema

GATED, PLAIN = ("swiglu", "geglu", "reglu"), ("gelu", "relu", "relu2")


@dataclass(frozen=True)
class NameInCore:
    """One of the names that everybody knows, or one that core has besides. All else is refused as by a Literal."""

    well_known: tuple[str, ...]
    of_core: Callable[[], list[str]]

    def known(self, name: Any) -> str:
        """`name`, if it is one. Raises PydanticKnownError."""
        if name in self.well_known or name in self.of_core():
            return str(name)
        *most, last = map(repr, self.of_core())
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(most)} or {last}"})

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.known)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"enum": self.of_core(), "type": "string"}


def _activations() -> list[str]:
    from bittygpt.core import feed_forward

    return [*feed_forward.GATED, *feed_forward.PLAIN]


def _optimizers() -> list[str]:
    from bittygpt.core.choices import OPTIMIZERS

    return [*OPTIMIZERS]


ACTIVATIONS = NameInCore((*GATED, *PLAIN), _activations)
OPTIMIZERS = NameInCore(("adamw", "muon", "adam", "sgd"), _optimizers)


def default_d_ff(d_model: int, activation: Any) -> int:
    """`core.feed_forward.default_d_ff`, which is asked about no well-known name."""
    if activation in ACTIVATIONS.well_known:
        return 4 * d_model if activation in PLAIN else max(64, (d_model + 12) // 24 * 64)
    from bittygpt.core import feed_forward

    return feed_forward.default_d_ff(d_model, str(activation))


def lr_beside_adamw(optimizer: Any) -> float:
    """How large a learning rate an optimizer of core takes, as a multiple of AdamW's."""
    if optimizer in OPTIMIZERS.well_known or optimizer not in OPTIMIZERS.of_core():
        return 1.0
    from bittygpt.core import choices

    return choices.OPTIMIZERS[optimizer].lr_beside_adamw
