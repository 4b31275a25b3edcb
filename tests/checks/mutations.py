"""Mistakes that people make, planted one at a time, and the check that must name the file each is in.

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
        check: the name of the check that must fail.
        function: module (below bittygpt) and name.
        old, new: what is replaced by what.
        overrides: of the config, where the mistake shows only in others.
        elsewhere: whether the check names another file than the mistake's: it cannot know better.
    """

    check: str
    function: str
    old: str
    new: str
    overrides: tuple[str, ...] = ()
    elsewhere: bool = False

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
ADAM, MUON, STEP = (
    "core.adamw:Adam.next_numbers",
    "core.muon:Muon.update",
    "training.step:compute_gradients",
)
CROSS_ENTROPY, CHUNKED = "core.cross_entropy:cross_entropy", "core.chunked_loss"
PASSES = "training.step:forward_and_backward"
NORM, TABLE, ATTENTION = "core.rmsnorm:rms_norm", "core.rope:RotaryEmbedding._table", "core.attention"
BLOCK, MODEL = "core.transformer:TransformerBlock.forward", "core.transformer:TransformerLM"
GROUPS, BATCH = "training.optimizers:build_optimizers", "data.batches:_batch"
TIED = ("model.tie_embeddings=true",)

MUTATIONS = [
    # softmax, activations, loss
    M("softmax-equals-torch", "core.activations:softmax", " - x32.amax(dim=dim, keepdim=True)", ""),
    M("log-softmax-equals-torch", "core.activations:log_softmax", " - x32.amax(dim=dim, keepdim=True)", ""),
    M("activations-equal-torch", "core.activations:silu", "torch.sigmoid(x)", "torch.sigmoid(1.702 * x)"),
    M("activations-equal-torch", "core.activations:relu2", ".square()", ""),
    M("cross-entropy-equals-torch", CROSS_ENTROPY, "log_normaliser - t", "t"),
    M("cross-entropy-equals-torch", CROSS_ENTROPY, "logits32 - largest", "logits32"),
    M("ignored-targets", CROSS_ENTROPY, "valid.sum()", "valid.new_tensor(valid.numel()).long()"),
    M("ignored-targets", CROSS_ENTROPY, ".clamp(min=1)", ""),
    M("ignored-targets", CROSS_ENTROPY, ".masked_fill(~valid, 0.0)", ""),
    M("chunked-loss", f"{CHUNKED}:losses_and_gradients_", "-valid.float()", "valid.float()"),
    M("chunked-loss", f"{CHUNKED}:losses_and_gradients_", "valid / sums", "1 / sums"),
    M("chunked-loss", f"{CHUNKED}:LinearCrossEntropyTwin.backward", "dweight * grads[0]", "dweight"),
    M(
        "chunked-loss",
        f"{CHUNKED}:losses_and_gradients_",
        "sums.log() + (largest",
        "sums.log() + (0 * largest",
    ),
    M("entropy-and-divergence", "core.cross_entropy:entropy", "-_weighted", "_weighted"),
    # the parts of the model
    M("linear-equals-torch", "core.linear:Linear.forward", "self.weight.T", "self.weight.T + 1e-3"),
    M("embedding-equals-torch", "core.embedding:LookUpTwin.backward", "index_add_", "index_copy_"),
    M("rmsnorm-equals-torch", NORM, " + eps", ""),
    M("rmsnorm-equals-torch", NORM, ".mean(", ".sum("),
    M("rmsnorm-equals-torch", NORM, "x.float()", "x.float() - x.float().mean(-1, True)"),
    M("rope-equals-complex-rotation", "core.rope:turn", "cos - odd * sin", "cos + odd * sin"),
    M(
        "rope-equals-complex-rotation",
        "core.rope:turn",
        "2].float(), x_BHTd[..., 1::2]",
        "2], x_BHTd[..., 0::2]",
    ),
    M("rope-equals-complex-rotation", TABLE, "self.theta **", "10_000.0 **"),
    M("rope-equals-complex-rotation", TABLE, "-pair /", "-2 * pair /"),
    M("rope-at-position-0", TABLE, "arange(self.max_positions", "arange(1, self.max_positions + 1"),
    M("rope-depends-on-distance", TABLE, "angles.cos(), angles", "angles.float().cos(), angles.float()"),
    M("attention-formula", f"{ATTENTION}:scaled_dot_product_attention", " / math.sqrt(q.shape[-1])", ""),
    M(
        "attention-layer",
        f"{ATTENTION}:formula_causal_attention",
        ".repeat_interleave(copies, dim=1)",
        ".repeat(1, copies, 1, 1)",
    ),
    M("feed-forward-layer", "core.feed_forward:GatedFeedForward.gated", "gate, up =", "up, gate ="),
    M("block-is-two-residual-sums", BLOCK, "return x_BTD + ", "return "),
    M("block-is-two-residual-sums", BLOCK, "self.ln1(x_BTD)", "x_BTD"),
    # the model
    M("initial-weights", "core.linear:Linear.__init__", "2 / (d_in + d_out)", "1 / d_in"),
    M("initial-weights", "core.embedding:Embedding.__init__", "std=std", "std=0.02"),
    M("initial-weights", f"{MODEL}.__init__", "config.d_model**-0.5 if", "1.0 if", TIED),
    M("first-loss", f"{MODEL}.forward", "loss(hidden_BTD", "loss(8 * hidden_BTD"),
    M("no-look-ahead", f"{ATTENTION}:causal_mask", "- num_queries", "- num_queries + 1"),
    M(
        "no-look-ahead",
        f"{ATTENTION}:fused_causal_attention",
        "is_causal=from_the_start",
        "is_causal=False",
    ),
    M("no-gradient-from-the-past", f"{ATTENTION}:causal_mask", ".tril(num_keys - num_queries)", ""),
    M("model-equals-torch", f"{MODEL}.hidden_states", "self.ln_final(x_BTD)", "x_BTD"),
    M("loss-equals-torch", f"{MODEL}.forward", "weight, targets_BT)", "weight, targets_BT.clamp(min=0))"),
    M(
        "tied-embeddings",
        f"{MODEL}.output_weight",
        "self.token_embeddings.weight if",
        "self.token_embeddings.weight.clone() if",
    ),
    M("twins-equal-formulas", "core.rmsnorm:norm_gradients", ".sum(dim=0)", ".mean(dim=0)"),
    M(
        "twins-equal-formulas",
        "core.feed_forward:silu_gate_gradients",
        "slope.mul_(up)",
        "slope",
        elsewhere=True,
    ),
    M("compiled-equals-eager", NORM, " + eps", " + 0.1", elsewhere=True),
    M(
        "compiled-equals-eager",
        "core.rope:turn_by_swapping",
        "stack((-sin, sin)",
        "stack((sin, -sin)",
        elsewhere=True,
    ),
    # the optimizer
    M("adamw-equals-torch", ADAM, "math.sqrt(1 - beta2**t)", "1.0"),
    M("adamw-equals-torch", ADAM, " / (1 - beta1**t)", ""),
    M("adamw-equals-torch", ADAM, "1 - lr * decay", "1 - decay"),
    M("adam-equals-torch", "core.adamw:Adam._update_on_lists", "alpha=decay", "alpha=-decay"),
    M("sgd-equals-torch", "core.sgd:SGD.update", "(momentum, updates)", "(momentum, updates, alpha=0.1)"),
    M("muon-orthogonalises", "core.muon:orthogonalize", "range(steps)", "range(steps - 3)"),
    M("muon-orthogonalises", "core.muon:orthogonalize", "alpha=c", "alpha=-c"),
    M("muon-equals-formula", "core.muon:Muon.next_numbers", "max(weights[0].shape)", "min(weights[0].shape)"),
    M("muon-equals-formula", MUON, 'torch._foreach_lerp(grads, momentum, group["momentum"])', "momentum"),
    M("clipping-equals-torch", "core.grad_clip:clip_grad_norm", "(norm + 1e-6)", "(grads[0].norm() + 1e-6)"),
    M("clipping-equals-torch", "core.grad_clip:clip_grad_norm", ".clamp(max=1.0)", ""),
    M(
        "schedule-equals-closed-form",
        "core.schedule:warmup",
        "step / warmup_steps",
        "(step - 1) / warmup_steps",
    ),
    M("schedule-equals-closed-form", "core.schedule:cosine_decay", "0.5 * (max_lr", "(max_lr"),
    M(
        "schedule-equals-closed-form",
        "training.optimizers:learning_rate",
        "(step, optim.lr, optim.m",
        "(step - 1, optim.lr, optim.m",
    ),
    M("parameter-groups", GROUPS, "(gains, 0.0,", "(gains, decay,"),
    M("parameter-groups", GROUPS, "decay / scale", "decay"),
    M("parameter-groups", GROUPS, "else inner + head)", "else inner)"),
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
    M("step-equals-torch", STEP, "parameter.grad = None", "pass"),
    M("step-equals-torch", STEP, "batch.num_valid()", "batch.targets.numel()"),
    M("step-equals-torch", PASSES, "loss * ranks", "-loss * ranks"),
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
    M("checkpoint-round-trip", "training.checkpoint:restore", "int(tensor)", "1 + int(tensor)"),
    M(
        "checkpoint-round-trip",
        "training.checkpoint:restore",
        "like(parameter, tensor)",
        "like(parameter, 0 * tensor)",
    ),
    M("evaluation-is-the-mean", "training.evaluation:evaluate", "total / max(1, tokens)", "total / 999"),
]

# In kernels/cpu.c: what is replaced by what, and the check that must fail.
C_MUTATIONS = [
    ("twins-equal-formulas", "squares / D + eps", "squares + eps"),
    ("twins-equal-formulas", "total / D * r * r", "total / D * r"),
    ("twins-equal-formulas", "own[d] += along", "own[d] = along"),
    ("twins-equal-formulas", " + beside[n * D + d]", ""),
    ("twins-equal-formulas", "even * c - odd * s", "even * c + odd * s"),
    ("twins-equal-formulas", "back * angles", "angles"),
    (
        "twins-equal-formulas",
        "rounded(g * sigmoid(g) * as_float(up[i]))",
        "rounded(sigmoid(g) * as_float(up[i]))",
    ),
    ("twins-equal-formulas", "1.0f + g * (1.0f - s)", "1.0f + g * s"),
    ("twins-equal-formulas", "rounded(slope * g * s)", "rounded(slope * s)"),
    ("chunked-loss", "if (gradients) memset", "if (!gradients) memset"),
    ("chunked-loss", "row[targets[n]] = rounded(of_target);", ""),
    ("adam-equals-torch", " + decay * weight", ""),
    ("adamw-equals-torch", "w[i] * kept", "w[i]"),
    ("adamw-equals-torch", "slope * slope * one_minus_beta2", "slope * slope"),
    ("clipping-equals-torch", "own += squares", "own = squares"),
    ("clipping-equals-torch", "g[i] *= factor", "g[i] = factor"),
]
