"""Mistakes that people make, planted one at a time, and the check that must name the file each is in.

What a person means to change in a formula of core looks no other than a mistake: it is named, and is "changed".

A mutation replaces a piece of the source of one function, which must stand there exactly once. Where the code has
changed so that it does not, plant the same mistake anew.
"""

import importlib
import inspect
import textwrap
from dataclasses import dataclass
from types import CodeType, FunctionType


@dataclass(frozen=True)
class Mutation:
    """A mistake in the source of a function.

    Attributes:
        check: the name of the check that must notice.
        function: module (below bittygpt) and name.
        old, new: what is replaced by what.
        overrides: of the config, where the mistake shows only in others.
        elsewhere: whether the check names another file than the mistake's: it cannot know better.
        state: what the outcome must be. A formula of core whose gradient is that of its value is "changed".
    """

    check: str
    function: str
    old: str
    new: str
    overrides: tuple[str, ...] = ()
    elsewhere: bool = False
    state: str = "failed"

    def __str__(self) -> str:
        return f"{self.check}: {self.function.split(':')[1]} {self.new.strip() or 'without' + self.old}"

    @property
    def file(self) -> str:
        """The file that the mistake is in."""
        return f"bittygpt/{self.function.split(':')[0].replace('.', '/')}.py"

    def find(self) -> FunctionType:
        """The function as it is called, without its decorators."""
        module, name = self.function.split(":")
        found = importlib.import_module(f"bittygpt.{module}")
        for part in name.split("."):
            found = getattr(found, part)
        return inspect.unwrap(found.fget if isinstance(found, property) else found)

    def code(self) -> CodeType:
        """The function's code with the mistake in it, which takes the place of its `__code__`, whoever holds it."""
        function = self.find()
        source = textwrap.dedent(inspect.getsource(function))
        count = source.count(self.old)
        assert count == 1, f"{self.function} holds {self.old!r} {count} times: plant this mistake anew"
        free = function.__code__.co_freevars  # such as the __class__ of super()
        source = f"def outer({', '.join(free)}):\n" + textwrap.indent(source.replace(self.old, self.new), " ")
        outer = next(c for c in compile(source, self.function, "exec").co_consts if isinstance(c, CodeType))
        return next(c for c in outer.co_consts if isinstance(c, CodeType) and c.co_name == function.__name__)


M = Mutation


def changed(check: str, function: str, old: str, new: str, overrides: tuple[str, ...] = ()) -> Mutation:
    """A formula of core that is another one now, with a gradient of its own, or able to learn."""
    return Mutation(check, f"core.{function}", old, new, overrides, state="changed")


ADAM, FUSED = "adamw:Adam.update", "engine.optimizers"
STEP, PASSES = "training.step:compute_gradients", "training.step:forward_and_backward"
CROSS_ENTROPY, LOSS = "cross_entropy:cross_entropy", "engine.layers.loss"
NORM, TABLE, ATTENTION = "rmsnorm:rms_norm", "rope:RotaryEmbedding.table", "attention"
BLOCK, MODEL = "transformer:TransformerBlock.forward", "transformer:TransformerLM"
GROUPS, BATCH = "training.optimizers:build_optimizers", "data.batches:_batch"
TIED = ("model.tie_embeddings=true",)

MUTATIONS = [
    # softmax, activations, loss: without the largest taken off, there is no gradient left to be right
    M("softmax-equals-torch", "core.activations:softmax", "minus_largest(upcast(x), dim)", "upcast(x)"),
    M(
        "log-softmax-equals-torch",
        "core.activations:log_softmax",
        "minus_largest(upcast(x), dim)",
        "upcast(x)",
    ),
    M("softmax-equals-torch", "core.activations:softmax", "exponentials.sum(", "exponentials.detach().sum("),
    changed("activations-equal-torch", "activations:silu", "torch.sigmoid(x)", "torch.sigmoid(1.702 * x)"),
    changed("activations-equal-torch", "activations:relu2", ".square()", ""),
    changed("cross-entropy-equals-torch", CROSS_ENTROPY, "-log_p", "log_p"),
    changed("ignored-targets", CROSS_ENTROPY, "valid.sum()", "valid.new_tensor(valid.numel()).long()"),
    M("ignored-targets", f"core.{CROSS_ENTROPY}", ".clamp(min=1)", ""),
    changed("ignored-targets", CROSS_ENTROPY, "losses.masked_fill(~valid, 0.0)", "losses"),
    M("chunked-loss", f"{LOSS}:losses_and_gradients_", "-valid.float()", "valid.float()"),
    M("chunked-loss", f"{LOSS}:losses_and_gradients_", "valid / sums", "1 / sums"),
    M("chunked-loss", f"{LOSS}:LinearCrossEntropy.gradients", "dweight * grads[0]", "dweight"),
    M("chunked-loss", f"{LOSS}:losses_and_gradients_", "sums.log() + (largest", "sums.log() + (0 * largest"),
    changed("entropy-and-divergence", "cross_entropy:entropy", "-expectation", "expectation"),
    # the parts of the model
    changed("linear-equals-torch", "linear:Linear.forward", "self.weight.T", "self.weight.T + 1e-3"),
    M(
        "embedding-equals-torch",
        "core.embedding:Embedding.forward",
        "self.weight.index",
        "self.weight.detach().index",
    ),
    changed(
        "embedding-equals-torch", "embedding:Embedding.forward", "ids.flatten()", "ids.flatten().clamp(max=9)"
    ),
    M("rmsnorm-equals-torch", f"core.{NORM}", " + eps", ""),
    changed("rmsnorm-equals-torch", NORM, ".mean(", ".sum("),
    changed("rmsnorm-equals-torch", NORM, "x32 = upcast(x)", "x32 = upcast(x) - upcast(x).mean(-1, True)"),
    changed("rope-equals-complex-rotation", "rope:apply_rotary", "cos - odd * sin", "cos + odd * sin"),
    changed("rope-equals-complex-rotation", "rope:apply_rotary", "1::2]", "0::2]"),
    changed("rope-equals-complex-rotation", TABLE, "self.theta **", "10_000.0 **"),
    changed("rope-equals-complex-rotation", TABLE, "-pair /", "-2 * pair /"),
    changed("rope-at-position-0", TABLE, "arange(self.max_positions", "arange(1, self.max_positions + 1"),
    changed(
        "rope-depends-on-distance", TABLE, "angles.cos(), angles", "angles.float().cos(), angles.float()"
    ),
    changed(
        "attention-formula", f"{ATTENTION}:scaled_dot_product_attention", " / math.sqrt(q.shape[-1])", ""
    ),
    changed(
        "attention-layer",
        f"{ATTENTION}:MultiHeadAttention.attend",
        ".repeat_interleave(copies, dim=1)",
        ".repeat(1, copies, 1, 1)",
    ),
    changed(
        "feed-forward-layer",
        "feed_forward:GatedFeedForward.forward",
        "self.w1(x)) * self.w3",
        "self.w3(x)) * self.w1",
    ),
    changed("block-is-two-residual-sums", BLOCK, "return x_BTD + ", "return "),
    changed("block-is-two-residual-sums", BLOCK, "self.ln1(x_BTD)", "x_BTD"),
    # the model
    changed("initial-weights", "linear:Linear.__init__", "2 / (d_in + d_out)", "1 / d_in"),
    changed("initial-weights", "embedding:Embedding.__init__", "std=std", "std=0.02"),
    changed("initial-weights", f"{MODEL}.__init__", "config.d_model**-0.5 if", "1.0 if", TIED),
    changed("first-loss", f"{MODEL}.loss", "self.logits(hidden", "self.logits(8 * hidden"),
    M("no-look-ahead", f"core.{ATTENTION}:causal_mask", "- num_queries", "- num_queries + 1"),
    M(
        "no-look-ahead",
        "engine.layers.block_halves:NormAndAttention.forward",
        "is_causal=True",
        "is_causal=False",
        elsewhere=True,
    ),
    M(
        "attention-layer",
        f"engine.layers.{ATTENTION}:causal_attention",
        "is_causal=from_the_start",
        "is_causal=False",
    ),
    M("no-gradient-from-the-past", f"core.{ATTENTION}:causal_mask", ".tril(num_keys - num_queries)", ""),
    changed("model-equals-torch", f"{MODEL}.hidden_states", "self.ln_final(x_BTD)", "x_BTD"),
    changed("loss-equals-torch", f"{MODEL}.loss", "targets_BT, red", "targets_BT.clamp(min=0), red"),
    M(
        "tied-embeddings",
        f"core.{MODEL}.output_weight",
        "self.token_embeddings.weight if",
        "self.token_embeddings.weight.clone() if",
    ),
    M("gradients-are-of-values", f"core.{NORM}", "x32 * inverse_rms", "x32 * inverse_rms.detach()"),
    M(
        "gradients-are-of-values",
        f"core.{BLOCK}",
        "self.ffn(self.ln2(x_BTD))",
        "self.ffn(self.ln2(x_BTD.detach()))",
    ),
    M("fast-paths-equal-formulas", "engine.layers.rmsnorm:norm_gradients", ".sum(dim=0)", ".mean(dim=0)"),
    M(
        "fast-paths-equal-formulas",
        "engine.layers.feed_forward:silu_gate_gradients",
        "slope.mul_(up)",
        "slope",
        elsewhere=True,
    ),
    M(
        "fast-paths-equal-formulas",
        "engine.layers.block_halves:NormAndAttention.gradients",
        "addmm_(dv, wv)",
        "addmm_(dv, wk)",
        elsewhere=True,
    ),
    M("rmsnorm-equals-torch", "engine.layers.rmsnorm:norm_gradients", "value=-1 /", "value=1 /"),
    M("cache-equals-full-pass", "sampling.decoding.decoder:Decoder._normalized", "hypot_(", "add_("),
    M(
        "compiled-equals-eager",
        "engine.layers.rotary:rotate_by_swapping",
        "stack((-sin, sin)",
        "stack((sin, -sin)",
        elsewhere=True,
    ),
    M(
        "compiled-equals-eager",
        f"{LOSS}:logits_with_padding",
        "hidden_ND @",
        "2 * hidden_ND @",
        elsewhere=True,
    ),
    # the optimizer
    changed("adamw-equals-torch", ADAM, "v / (1", "v / 1.0 # (1"),
    changed("adamw-equals-torch", ADAM, "m / (1", "m / 1.0 # (1"),
    changed("adamw-equals-torch", ADAM, "1 - lr * group", "1 - 2 * lr * group"),
    M("adamw-equals-torch", f"core.{ADAM}", "w.sub_(lr", "w.add_(lr"),
    M("adamw-equals-torch", f"{FUSED}.adam:FusedAdam.next_numbers", "math.sqrt(1 - beta2**t)", "1.0"),
    M("adam-equals-torch", f"{FUSED}.adam:FusedAdam._update_on_lists", "alpha=decay", "alpha=-decay"),
    changed("sgd-equals-torch", "sgd:SGD.update", "add_(u)", "add_(0.5 * u)"),
    M("sgd-equals-torch", "core.sgd:SGD.update", "add_(u)", "add_(0.01 * u)"),
    M(
        "sgd-equals-torch",
        f"{FUSED}.sgd:FusedSGD.update_list",
        "(momentum, updates)",
        "(momentum, updates, alpha=0.1)",
    ),
    changed("muon-orthogonalises", "muon:orthogonalize", "range(steps)", "range(steps - 3)"),
    M("muon-orthogonalises", "core.muon:orthogonalize", "alpha=c", "alpha=-c"),
    changed("muon-equals-formula", "muon:Muon.update", "max(w.shape)", "min(w.shape)"),
    M(
        "muon-equals-formula",
        f"{FUSED}.muon:FusedMuon.next_numbers",
        "max(weights[0].shape)",
        "min(weights[0].shape)",
    ),
    M(
        "muon-equals-formula",
        f"{FUSED}.muon:FusedMuon.update_list",
        'torch._foreach_lerp(grads, momentum, group["momentum"])',
        "momentum",
    ),
    changed("clipping-equals-torch", "grad_clip:clip_grad_norm", "(norm + 1e-6)", "(grads[0].norm() + 1e-6)"),
    changed("clipping-equals-torch", "grad_clip:clip_grad_norm", ".clamp(max=1.0)", ""),
    M(
        "clipping-equals-torch",
        "engine.optimizers.grad_clip:clip_grad_norm",
        "(norm + 1e-6)",
        "(2 * norm + 1e-6)",
    ),
    changed(
        "schedule-equals-closed-form", "schedule:warmup", "step / warmup_steps", "(step - 1) / warmup_steps"
    ),
    changed("schedule-equals-closed-form", "schedule:cosine_decay", "0.5 * (max_lr", "(max_lr"),
    M(
        "schedule-equals-closed-form",
        "training.timing.learning_rate:learning_rate",
        "(step, optim.lr, optim.m",
        "(step - 1, optim.lr, optim.m",
    ),
    M("parameter-groups", GROUPS, "(gains, 0.0,", "(gains, decay,"),
    M("parameter-groups", GROUPS, "decay / scale", "decay"),
    M("parameter-groups", GROUPS, "groups(inner + outer)", "groups(inner)"),
    M(
        "learning-rates-of-groups",
        "training.optimizers:embedding_lr_scale",
        "math.sqrt(config.d_model)",
        "1.0",
    ),
    # the data
    M("targets-are-shifted-by-one", BATCH, "rows[:, 1:]", "rows[:, :-1]"),
    M(
        "windows-cover-everything-once",
        "data.windows:StreamWindows.spans",
        "numbers * self",
        "(numbers + 1) * self",
    ),
    M("evaluation-covers-everything-once", BATCH, ">= valid", "> valid"),
    M("batches-are-pure", "data.batches:TrainingBatches.batch", "numbers // self", "0 * numbers // self"),
    M("ignored-tokens", BATCH, "targets[targets == token]", "ids[ids == token]"),
    # training
    M("step-equals-formula", STEP, "parameter.grad = None", "pass"),
    M("step-equals-formula", STEP, "batch.num_valid()", "batch.targets.numel()"),
    M("step-equals-formula", PASSES, "loss * ranks", "-loss * ranks"),
    M(
        "accumulation-equals-large-batch",
        STEP,
        "micro_batch_size)\n",
        "micro_batch_size); model.zero_grad()\n",
    ),
    M(
        "accumulation-equals-large-batch",
        PASSES,
        "device) / divisor",
        "device) / max(1, micro.num_valid())",
    ),
    M("one-batch-is-learned", "training.step:update_weights", "= lr *", "= -lr *"),
    M(
        "checkpoint-round-trip",
        "training.checkpoints.checkpoint:restore",
        "number(tensor)",
        "1 + number(tensor)",
    ),
    M(
        "checkpoint-round-trip",
        "training.checkpoints.checkpoint:restore",
        "like(parameter, tensor)",
        "like(parameter, 0 * tensor)",
    ),
    M("evaluation-is-the-mean", "training.evaluation:evaluate", "total / max(1, tokens)", "total / 999"),
]

# In engine/kernels/cpu.c: what is replaced by what, and the check that must fail.
C_MUTATIONS = [
    ("fast-paths-equal-formulas", "squares / D + eps", "squares + eps"),
    ("fast-paths-equal-formulas", "total / D * r * r", "total / D * r"),
    ("fast-paths-equal-formulas", "own[d] += along", "own[d] = along"),
    ("fast-paths-equal-formulas", " + beside[n * D + d]", ""),
    ("fast-paths-equal-formulas", "even * c - odd * s", "even * c + odd * s"),
    ("fast-paths-equal-formulas", "back * angles", "angles"),
    (
        "fast-paths-equal-formulas",
        "rounded(g * sigmoid(g) * as_float(up[i]))",
        "rounded(sigmoid(g) * as_float(up[i]))",
    ),
    ("fast-paths-equal-formulas", "1.0f + g * (1.0f - s)", "1.0f + g * s"),
    ("fast-paths-equal-formulas", "rounded(slope * g * s)", "rounded(slope * s)"),
    ("chunked-loss", "if (gradients) memset", "if (!gradients) memset"),
    ("chunked-loss", "row[targets[n]] = rounded(of_target);", ""),
    ("adam-equals-torch", " + decay * weight", ""),
    ("adamw-equals-torch", "w[i] * kept", "w[i]"),
    ("adamw-equals-torch", "slope * slope * one_minus_beta2", "slope * slope"),
    ("clipping-equals-torch", "own += squares", "own = squares"),
    ("clipping-equals-torch", "g[i] *= factor", "g[i] = factor"),
]
