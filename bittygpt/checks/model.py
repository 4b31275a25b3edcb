"""The whole model: its first loss, what it may see, and the several ways in which it computes the same."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bittygpt.checks import reference
from bittygpt.checks.finding import (
    FORMS,
    MODEL,
    PART,
    Check,
    Finding,
    Named,
    check,
    difference,
    equal,
    module_equals,
    value_and_gradients,
    worst_of,
)
from bittygpt.checks.parts import rope_of
from bittygpt.checks.subject import CONTEXT, Subject
from bittygpt.core import IGNORE_INDEX, Embedding, MultiHeadAttention, RMSNorm
from bittygpt.core.feed_forward import make_feed_forward
from bittygpt.core.twins import formulas_alone
from bittygpt.sampling.generate import SamplingOptions, generate

CUT = 0.98658  # standard deviation of a normal distribution that is cut at 3 of its own


@check("every weight starts at its size", look_in="core/transformer.py")
def initial_weights(subject: Subject) -> Finding:
    """Matrices N(0, 2 / (d_in + d_out)), embeddings N(0, 1) or, tied, N(0, 1/D), cut at 3 of these; gains are 1."""
    value, worst = 0.0, ""
    for name, weight in subject.own_model.named_parameters():
        if weight.ndim < 2:
            off, margin = (weight - 1).abs().max().item(), 1e-6
        else:
            is_table = name.startswith("token_embeddings.")
            std = math.sqrt(2 / sum(weight.shape))
            if is_table:
                std = weight.shape[1] ** -0.5 if subject.own_shape.tie_embeddings else 1.0
            # the spread of a sample of n is off by 1 / sqrt(2n) of it, and by four times that hardly ever
            margin = 0.02 + 4 / math.sqrt(2 * weight.numel())
            off = max(
                abs(weight.std().item() / (std * CUT) - 1),
                abs(weight.mean().item() / std) / 2,
                weight.abs().max().item() / (3 * std) - 1,
            )
        if off / margin > value:
            value, worst = off / margin, name
    where = f", {worst}" if value > 1 else ""
    return Finding(f"largest deviation {value:.2f} of what chance explains (limit 1){where}", value, 1.0)


@check("the first loss is near ln V: a new model knows nothing", look_in="core/transformer.py")
def first_loss(subject: Subject) -> Finding:
    """Much above it, the first scores are too large; much below it, the model can see what it is to predict."""
    shape = subject.own_shape
    batch = subject.own_batch(max(2, 512 // shape.context_length), shape.context_length)
    device = subject.device.torch_device
    with torch.no_grad():
        total = subject.own_model(batch.ids.to(device), targets_BT=batch.targets.to(device))
    loss = total.item() / max(1, batch.num_valid())
    # scores of variance s² cost s²/2 nats on average; the rest is chance, and what the residual stream adds
    variance = 1.0 if shape.tie_embeddings else 2 * shape.d_model / (shape.d_model + shape.vocab_size)
    uniform, limit = math.log(shape.vocab_size), 0.4 + variance / 2
    off = abs(loss - uniform)
    return Finding(f"{loss:.3f}, and ln {shape.vocab_size:,} is {uniform:.3f} (limit ± {limit:.2f})", off, limit)


@check("no future token moves a past score", look_in="core/attention.py")
def no_look_ahead(subject: Subject) -> Finding:
    """A token is changed: all scores before it stay, and those from it on move. In both forms."""
    model, ids = subject.model(lively=True), subject.ids(2)
    moved, seen = 0.0, True
    for chosen in FORMS.values():
        with chosen(), torch.no_grad():
            before = model(ids)
            for at in (1, CONTEXT // 2, CONTEXT - 1):
                changed = ids.clone()
                changed[:, at] = (ids[:, at] + 1) % subject.shape.vocab_size
                after = model(changed)
                moved = max(moved, difference(after[:, :at], before[:, :at]))
                seen = seen and difference(after[:, at:], before[:, at:]) > PART
    if not seen:
        return Finding("a changed token changes nothing, not even its own position's scores", 1.0, 0.0)
    return Finding(f"past scores moved by {moved:.1e} (limit {PART:.0e})", moved, PART)


@check("no gradient flows from a past score to a future token", look_in="core/attention.py")
def no_gradient_from_the_past(subject: Subject) -> Finding:
    """What position t says is sent back: only the embeddings of 0..t may feel it, and each of these must."""
    count = min(CONTEXT, subject.shape.vocab_size)
    model = subject.model(lively=True)
    order = torch.randperm(subject.shape.vocab_size)[:count].to(subject.device.torch_device)
    leaked = 0.0
    for chosen in FORMS.values():
        for at in (0, count // 2, count - 1):
            with chosen():
                hidden = model.hidden_states(order[None])[0, at]
                loss = (hidden * torch.linspace(1, 2, len(hidden), device=hidden.device)).sum()
                (gradient,) = torch.autograd.grad(loss, model.token_embeddings.weight)
            felt = gradient[order].abs().sum(-1)
            if not (felt[: at + 1] > 0).all():
                return Finding(f"position {at} does not see all tokens up to its own", 1.0, 0.0)
            leaked = max(leaked, (felt[at + 1 :].sum() / felt.sum()).item())
    return Finding(f"{leaked:.1e} of the gradient goes to later tokens (limit 0)", leaked, 0.0)


@check("the model equals one made of torch's parts", look_in="core/transformer.py")
def model_equals_torch(subject: Subject) -> Finding:
    """Logits, and the gradients of all weights, from the same weights."""
    model, ids = subject.model(lively=True), subject.ids(2)
    shape = subject.shape
    return module_equals(model, lambda n: reference.model(ids, n, shape), MODEL, arguments=(ids,))


@check("the loss that trains equals torch's cross-entropy of the logits", look_in="core/transformer.py")
def loss_equals_torch(subject: Subject) -> Finding:
    """Summed, with some targets ignored; loss and gradients of all weights."""
    model, ids = subject.model(lively=True), subject.ids(2)
    targets = subject.ids(2)
    targets[0, 5:9] = IGNORE_INDEX

    def theirs(n: Named) -> Tensor:
        logits = torch.func.functional_call(model, n, (ids,))
        flat: Tensor = logits.flatten(0, 1)
        return F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")

    def ours(n: Named) -> Tensor:
        loss: Tensor = torch.func.functional_call(model, n, (ids,), {"targets_BT": targets})
        return loss

    weights = dict(model.named_parameters())
    right, pairs = value_and_gradients(theirs, weights), {}
    for form, chosen in FORMS.items():
        with chosen():
            found = value_and_gradients(ours, weights)
        pairs |= {f"{name} by the {form}": (found[name], right[name]) for name in right}
    return equal(pairs, MODEL)


@check("tied embeddings are one table, untied ones are two", look_in="core/transformer.py")
def tied_embeddings(subject: Subject) -> Finding:
    """A copy would be tied at the first step only: the optimizer moves the two apart."""
    wrong = []
    for tied in (True, False):
        model = subject.model(tie_embeddings=tied)
        table, head = model.token_embeddings.weight, model.output_weight
        if (table.data_ptr() == head.data_ptr()) is not tied:
            wrong.append(f"tie_embeddings {tied}: the tables are {'two' if tied else 'one'}")
        tables = [p for p in model.parameters() if p.shape == table.shape and p.shape[0] == model.config.vocab_size]
        if len(tables) != (1 if tied else 2):
            wrong.append(f"tie_embeddings {tied}: {len(tables)} tables are learned")
        before = model.logits(torch.ones(1, model.config.d_model, device=table.device))
        with torch.no_grad():
            table.add_(1)
        after = model.logits(torch.ones(1, model.config.d_model, device=table.device))
        if torch.equal(before, after) is tied:
            wrong.append(f"tie_embeddings {tied}: the scores {'do not ' * tied}follow the embedding")
    return Finding(f"{len(wrong)} of 6 signs wrong (limit 0){': ' * bool(wrong)}{wrong[0] if wrong else ''}", len(wrong), 0)


@check("the fast twins equal their formulas, values and gradients", look_in="core/twins.py")
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
        ("core/feed_forward.py", make_feed_forward(width, shape.feed_forward_width, shape.activation), {"x": x}, ()),
        ("core/transformer.py", subject.model(lively=True), {}, (ids,)),
        ("core/chunked_loss.py", subject.model(lively=True), {}, (ids, None, None, targets)),  # type: ignore[list-item]
    ]
    for file, module, inputs, arguments in parts:
        finding = _twin_of(module.to(device), inputs, arguments, file)
        if not finding.is_right:
            return finding
    return finding


def _twin_of(module: nn.Module, inputs: dict[str, Tensor], arguments: tuple[Tensor, ...], file: str) -> Finding:
    def compute(named: Named) -> Tensor:
        weights = {name: x for name, x in named.items() if name not in inputs}
        values = tuple(named[name] for name in inputs)
        result: Tensor = torch.func.functional_call(module, weights, (*values, *arguments))
        return result

    everything = {**inputs, **dict(module.named_parameters())}
    found = value_and_gradients(compute, everything)
    with formulas_alone():
        right = value_and_gradients(compute, everything)
    return equal({f"{name}": (found[name], right[name]) for name in right}, MODEL, file)


@check("generation with the cache equals the full forward pass", look_in="sampling/context.py")
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
        text = torch.tensor([*prompt, *(token.token_id for token in chosen)], device=model.output_weight.device)
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
    initial_weights,
    first_loss,
    no_look_ahead,
    no_gradient_from_the_past,
    model_equals_torch,
    loss_equals_torch,
    tied_embeddings,
    twins_equal_formulas,
    cache_equals_full_pass,
)
_ = replace, Callable
