"""`bittygpt sample --score FILE`: how well the model predicts a text."""

import json
import tempfile
from pathlib import Path

from bittygpt.config import RunConfig
from bittygpt.core import TransformerLM
from bittygpt.data.preparation.encoding import EncodingJob
from bittygpt.errors import BadRecordError, UsageError
from bittygpt.sampling.scoring import Score, score
from bittygpt.terminal.console import result
from bittygpt.terminal.preparation import PreparationProgress
from bittygpt.text.corpus import Corpus
from bittygpt.text.documents import ReadOptions
from bittygpt.text.pieces import Position
from bittygpt.text.sources import Source
from bittygpt.tokenizer.tokenizer import Tokenizer

NEVER = 1 << 62  # documents between two that are compared with others


def score_file(
    model: TransformerLM, tokenizer: Tokenizer, path: Path, config: RunConfig, as_json: bool
) -> None:
    """Print loss (nats per token) and bits per byte of a file under the model.

    The file is read as training reads it (`data.separator`, `data.text_key`, `data.on_bad_record`): its documents, each
    followed by `<|endoftext|>`, which counts as a token unless `train.ignore_tokens` says otherwise. A file whose name
    says nothing about its format is plain text.

    Raises:
        UsageError: there is no such file, no text in it, or text that cannot be read.
    """
    if not path.is_file():
        what = "is a folder; give one of its files" if path.is_dir() else "there is no such file; give a text"
        raise UsageError(f"--score {path}: {what}")
    ignored = [tokenizer.special_ids[token] for token in config.train.ignore_tokens]
    data = config.data
    options = ReadOptions(data.separator, data.text_key, data.on_bad_record == "skip")
    found, source = Score(), Source(str(path), path)
    with tempfile.TemporaryDirectory() as spool, PreparationProgress() as progress:
        corpus = Corpus((), (source,), 0.0, options, Path(spool))
        encode = EncodingJob(tokenizer, options, 0.0, NEVER)
        encoded = (encode((piece, 0)) for piece in corpus.pieces(Position()))
        tokens = (documents.tokens for piece in encoded for documents in piece.splits.values())
        try:
            for found in score(model, tokens, tokenizer.token_bytes(), tokenizer.end_of_text_id, ignored):
                progress("scoring", found.num_bytes, source.expected_bytes())
        except BadRecordError as error:  # its own remedies are keys of a config, which sample does not take
            raise UsageError(f"--score {error.fault}; convert or mend the file") from None
    if not found.num_bytes:
        raise UsageError(f"--score {path}: there is no text in it")
    if as_json:
        figures = {"loss": found.loss, "bits_per_byte": found.bits_per_byte}
        result(
            json.dumps({"file": str(path), **figures, "tokens": found.num_tokens, "bytes": found.num_bytes})
        )
    else:
        result(
            f"loss {found.loss:.4f} nats per token, {found.bits_per_byte:.4f} bits per byte "
            f"({found.num_tokens:,} tokens, {found.num_bytes:,} bytes)"
        )
