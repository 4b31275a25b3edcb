"""`make verify-all`: what is exported, in the readers that `make check` has no room for.

Small models of every kind are exported; transformers 4, MLX, CTranslate2, OpenVINO and onnxruntime-genai load them,
each in packages of its own (pip puts them under .verify/, once), and logits, greedy text and token ids are compared.
Ends with 1 if one differs.

    python tests/verify_all/verify.py [READER ...]
"""

import argparse
import contextlib
import difflib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bittygpt.commands.export import export
from bittygpt.export.comparison import HARD_TEXTS, greedy_text, with_special_tokens
from bittygpt.export.huggingface.tokenizer import encode_with_special_tokens
from bittygpt.tokenizer.bpe_training import train_bpe
from bittygpt.tokenizer.tokenizer import Tokenizer
from bittygpt.training.checkpoints.checkpoint import load_checkpoint
from tests.commands.run_at_hand import saved_run
from tests.words import count_words

HERE = Path(__file__).resolve().parent
PACKAGES = HERE.parent.parent / ".verify"
# which packages a reader comes from (a file of requirements), and what it reads
READERS = {
    "transformers 4": ("transformers4", "hf"),
    "MLX": ("readers", "hf"),
    "CTranslate2": ("readers", "hf"),
    "OpenVINO": ("readers", "onnx"),
    "onnxruntime-genai": ("readers", "onnx"),
}
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "tied": {"tie_embeddings": True},
    "QK-norm": {"qk_norm": True, "rope_theta": 500_000.0},
}
SHAPE = {"context_length": 64, "d_model": 64, "num_layers": 3, "num_heads": 4, "d_ff": 192}
TOLERANCE = 2e-4
GREEDY_TOKENS = 40


def main() -> int:
    """Make what is missing, export, ask, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    wanted = parser.parse_args().readers or list(READERS)
    if unknown := set(wanted) - set(READERS):
        parser.error(f"{unknown.pop()} is none of {', '.join(READERS)}")
    for packages in sorted({READERS[name][0] for name in wanted}):
        install(packages)
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        export_all(Path(folder))
        for name in wanted:
            print(f"asking {name} ...", file=sys.stderr)
            rows += [(name, *row) for row in ask(name, Path(folder))]
    print("| reader | model | logits differ by | greedy text | ids of texts | |\n|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return int(any(row[-1] != "ok" for row in rows))


def install(name: str) -> None:
    """The packages of a file of requirements, in a folder of their own; torch is that of this environment."""
    requirements = HERE / f"{name}.txt"
    done = PACKAGES / f"{name}.installed"
    if done.exists() and done.read_text() == requirements.read_text():
        return
    print(
        f"installing {', '.join(requirements.read_text().split())} into {PACKAGES / name} ...",
        file=sys.stderr,
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--target",
        str(PACKAGES / name),
    ]
    # the constraints are those of this environment, which has other versions
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    subprocess.run([*command, "-r", str(requirements)], env=environment, check=True)
    done.write_text(requirements.read_text())


def export_all(folder: Path) -> None:
    """`folder/MODEL/hf` and `folder/MODEL/onnx`, and what is right in `folder/MODEL/expected.npz` and `texts.json`."""
    source = Path(difflib.__file__).read_text("utf-8")
    special = ["<|endoftext|>", "<|pad|>"]
    tokenizer = Tokenizer(train_bpe(count_words([source], special), 800, special), special)
    texts = [source, *HARD_TEXTS, *with_special_tokens(tokenizer)]
    ids = [encode_with_special_tokens(tokenizer, text) for text in texts]
    for name, changes in MODELS.items():
        print(f"exporting {name} ...", file=sys.stderr)
        place = folder / name
        place.mkdir()
        torch.manual_seed(0)
        run = saved_run(place, tokenizer, SHAPE | changes)
        for format in ("hf", "onnx"):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                options = {"config": None, "dtype": "float32", "verify": True, "overwrite": False}
                export(str(run), format=format, out=place / format, as_json=True, **options)
        model, _ = load_checkpoint(run / "checkpoints/step-00000003")
        inputs = torch.randint(0, tokenizer.vocab_size, (2, SHAPE["context_length"]))
        prompt = [0, *tokenizer.encode("def main")]
        greedy, margins = greedy_text(model, prompt, GREEDY_TOKENS, end=-1)
        with torch.inference_mode():
            logits = model(inputs).numpy()
        np.savez(place / "expected.npz", ids=inputs.numpy(), logits=logits, prompt=prompt, greedy=greedy)
        decided = next((i for i, margin in enumerate(margins) if margin < TOLERANCE), len(margins))
        (place / "texts.json").write_text(json.dumps({"texts": texts, "ids": ids, "decided": decided}))


def ask(reader: str, folder: Path) -> list[tuple[str, ...]]:
    """A row of the table for each model."""
    packages, kind = READERS[reader]
    environment = os.environ | {
        "PYTHONPATH": str(PACKAGES / packages),
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    rows = []
    for model in MODELS:
        command = [sys.executable, str(HERE / "reader.py"), reader, str(folder / model), kind]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no word"])[-1]
            rows.append((model, "", "", "", f"FAILED: {said[:200]}"))
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        is_well = found["difference"] < TOLERANCE and found["greedy"] and found["wrong_texts"] == 0
        greedy = f"{'equal' if found['greedy'] else 'OTHER'} ({found['greedy_tokens']} tokens)"
        right = found["texts"] - found["refused_texts"] - found["wrong_texts"]
        texts = f"{right} of {found['texts']}" if found["texts"] else "has no tokenizer"
        if found["refused_texts"]:
            texts += f" (takes no NUL: {found['refused_texts']})"
        rows.append(
            (
                model,
                f"{found['difference']:.1e}",
                greedy,
                texts,
                "ok" if is_well else f"WRONG {done.stderr[-200:].strip()}",
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
