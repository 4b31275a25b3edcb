"""A run with one checkpoint that nobody had to train."""

from pathlib import Path

from bittygpt.config import config_to_yaml, load_config
from bittygpt.core import ModelConfig, TransformerLM
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import begin_checkpoint, save_checkpoint
from bittygpt.training.checkpoints.run_folder import RunFolder
from bittygpt.training.distributed.ranks import Ranks


def saved_run(folder: Path, tokenizer: Tokenizer, changes: dict | None = None) -> Path:
    """`folder/runs/tiny` with one checkpoint, of a model at which mistakes show."""
    shape = {"context_length": 32, "d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 64} | (
        changes or {}
    )
    model = TransformerLM(ModelConfig(vocab_size=tokenizer.vocab_size, **shape))
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data.normal_(1, 0.3)
        else:
            p.data.mul_(2 if "layers" in name else 0.1 if "embeddings" in name else 1)
    path = folder / "tiny.yaml"
    path.write_text("data: {train: [owls.txt]}\nsample: {max_tokens: 9, temperature: 0.7, top_p: 0.9}\n")
    run = RunFolder(folder / "runs/tiny")
    state = {"tokens": 12345}
    begin_checkpoint(run.checkpoints, 3)
    save_checkpoint(
        run.checkpoints, 3, model, [], state, config_to_yaml(load_config(path)), tokenizer, Ranks()
    )
    run.log({"event": "eval", "step": 2, "val_loss": 3.25, "val_bpb": 1.75, "elapsed": 1.0})
    return run.path
