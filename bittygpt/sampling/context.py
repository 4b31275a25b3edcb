"""What the model sees while a text grows: the newest tokens, and their keys and values.

Shapes: B samples, T positions, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bittygpt.core import TransformerLM
from bittygpt.sampling.kv_cache import caches_for


class Context:
    """A prompt and the tokens after it, for several samples in step: grows with each token, and slides when full.

    When it is full, its last half is read anew, at positions from 0 on. Moving on by one token at a time would mean
    to read the whole context for each token, as every position changes; this way it is half a context each half
    context, at the price of a model that now and then sees only half of what it could.

    Args:
        prompt_ids: at least one; of more than the model's context, the last ones are used.
        max_tokens: how many tokens will follow at most, so that no more room is taken than they need.
        on_notice: told of a prompt cut short and of the first slide.
    """

    def __init__(
        self,
        model: TransformerLM,
        prompt_ids: Sequence[int],
        max_tokens: int,
        num_samples: int,
        on_notice: Callable[[str], None],
    ) -> None:
        self._model, self._num_samples, self._on_notice = model, num_samples, on_notice
        self._limit = model.config.context_length
        self._device = model.token_embeddings.weight.device
        if len(prompt_ids) > self._limit:
            on_notice(
                f"the prompt has {len(prompt_ids)} tokens and the context {self._limit}: using its last ones"
            )
        self._ids_BT = torch.tensor([list(prompt_ids[-self._limit :])], dtype=torch.long, device=self._device)
        self._caches = caches_for(model, min(self._limit, self._ids_BT.shape[1] + max_tokens))
        self._has_slid = False

    def read_prompt(self) -> Tensor:
        """Scores (B, V) for the token after the prompt, which is read once for all samples."""
        logits_1V = self._last_logits(self._ids_BT)
        for cache in self._caches:
            cache.repeat(self._num_samples)
        self._ids_BT = self._ids_BT.repeat(self._num_samples, 1)
        return logits_1V.repeat(self._num_samples, 1)

    def advance(self, new_B1: Tensor) -> Tensor:
        """Take in a token for each sample (B, 1); scores (B, V) for the one after."""
        self._ids_BT = torch.cat((self._ids_BT, new_B1), dim=1)
        if self._ids_BT.shape[1] <= self._limit:
            return self._last_logits(new_B1)
        kept = max(1, self._limit // 2)
        if not self._has_slid:
            self._on_notice(f"the context of {self._limit} tokens is full: going on from the last {kept}")
            self._has_slid = True
        self._ids_BT = self._ids_BT[:, -kept:]
        for cache in self._caches:
            cache.clear()
        return self._last_logits(self._ids_BT)

    def _last_logits(self, ids_BT: Tensor) -> Tensor:
        start = self._caches[0].length
        positions_T = torch.arange(start, start + ids_BT.shape[1], device=self._device)
        hidden_BTD = self._model.hidden_states(ids_BT, positions_T, self._caches)
        return self._model.logits(hidden_BTD[:, -1]).float()
