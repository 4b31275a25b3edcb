"""The several ways in which the model computes the same: by twins or formulas, at once or with a cache."""

import torch
from torch import Tensor, nn

from bittygpt.checks.finding import (
    MODEL,
    Check,
    Finding,
    Named,
    check,
    equal,
    paired,
    value_and_gradients,
    worst_of,
)
from bittygpt.checks.parts import rope_of
from bittygpt.checks.subject import CONTEXT, Subject
from bittygpt.core import Embedding, MultiHeadAttention, RMSNorm
from bittygpt.core.feed_forward import make_feed_forward
from bittygpt.core.twins import formulas_alone, without_c
from bittygpt.sampling.generate import SamplingOptions, generate


@check("fast twins equal formulas, gradients, too", look_in="core/twins.py")
def twins_equal_formulas(subject: Subject) -> Finding:
    """Part by part, so that the part at fault is named; then the whole model."""
    shape, device = subject.shape, subject.device.torch_device
    width, ids, targets = shape.d_model, subject.ids(2), subject.ids(2)
    x, rope = 2 * subject.normal(2, CONTEXT, width), rope_of(subject)
    attention = MultiHeadAttention(
        width, shape.num_heads, shape.num_kv_heads, rope, shape.qk_norm, shape.norm_eps
    )
    parts: list[tuple[str, nn.Module, dict[str, Tensor], tuple[Tensor, ...]]] = [
        ("core/embedding.py", Embedding(shape.vocab_size, width), {}, (ids,)),
        ("core/rmsnorm.py", RMSNorm(width, shape.norm_eps), {"x": x}, ()),
        ("core/rope.py", rope, {"x": subject.normal(2, 3, CONTEXT, rope.head_dim)}, ()),
        ("core/attention.py", attention, {"x": x}, ()),
        (
            "core/feed_forward.py",
            make_feed_forward(width, shape.feed_forward_width, shape.activation),
            {"x": x},
            (),
        ),
        ("core/block_twin.py", subject.model(lively=True), {}, (ids,)),
        ("core/chunked_loss.py", subject.model(lively=True), {}, (ids, targets)),
    ]
    for file, module, inputs, arguments in parts:
        finding = _twin_of(module.to(device), inputs, arguments, file)
        if not finding.is_right:
            return finding
    return finding


def _twin_of(
    module: nn.Module, inputs: dict[str, Tensor], arguments: tuple[Tensor, ...], file: str
) -> Finding:
    def compute(named: Named) -> Tensor:
        weights = {name: x for name, x in named.items() if name not in inputs}
        values = tuple(named[name] for name in inputs)
        result: Tensor = torch.func.functional_call(module, weights, (*values, *arguments))
        return result

    everything = {**inputs, **dict(module.named_parameters())}
    with formulas_alone():
        right = value_and_gradients(compute, everything)
    found = value_and_gradients(compute, everything)
    with without_c():
        without = value_and_gradients(compute, everything)
    return equal(paired(found, right) | paired(without, right, " without C"), MODEL, file)


@check("cached generation equals the full pass", look_in="sampling/decoder.py")
def cache_equals_full_pass(subject: Subject) -> Finding:
    """Each token is chosen greedily, with earlier keys and values from the cache; then all is read at once."""
    model = subject.model(lively=True).eval()
    findings = []
    for prompt_length in (1, CONTEXT // 2):
        prompt = subject.ids(1, prompt_length)[0].tolist()
        options = SamplingOptions(CONTEXT - prompt_length, temperature=0, ignore_eos=False)
        end = subject.shape.vocab_size  # of no token, so that all are generated
        steps = [tokens[0] for tokens in generate(model, prompt, options, end)]
        chosen = [token for token in steps if token is not None]
        text = torch.tensor(
            [*prompt, *(token.token_id for token in chosen)], device=model.output_weight.device
        )
        with torch.no_grad():
            scores = torch.log_softmax(model(text[None, :-1])[0, prompt_length - 1 :].float(), -1)
        said = torch.tensor([token.logprob for token in chosen], device=scores.device)
        findings.append(
            equal(
                {
                    "log-probability of a token": (said, scores.gather(-1, text[prompt_length:, None])[:, 0]),
                    "log-probability of the likeliest token": (said, scores.amax(-1)),
                },
                MODEL,
            )
        )
    return worst_of(findings)


CHECKS: tuple[Check, ...] = (
    twins_equal_formulas,
    cache_equals_full_pass,
)
