"""llama.cpp as a reader of GGUF files, in a process of its own: a file that crashes it does not crash us.

    python -m bittygpt.export.gguf.llama_cpp FILE < questions.json > answers.json

The questions are `{"vocab_size": V, "letter": id, "prompts": [[id, …], …], "texts": [str, …], "greedy": [id, …],
"count": N}`; the answers `{"logprobs": [[of each id], …], "tokens": [[id, …], …], "greedy": [id, …]}`.
"""

import importlib.util
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from bittygpt.errors import ExportError


def llama_cpp_is_installed() -> bool:
    """Whether there is anything to compare with."""
    return importlib.util.find_spec("xllamacpp") is not None


def ask_llama_cpp(path: Path, questions: dict[str, Any]) -> dict[str, Any]:
    """What llama.cpp makes of the file.

    Raises:
        ExportError: it cannot load the file.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bittygpt.export.gguf.llama_cpp", str(path)],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = done.stderr.splitlines() or ["no word"]
        errors = [line for line in lines if "error" in line.lower()]
        said = errors[0] if errors else lines[-1]  # what comes after the first follows from it
        raise ExportError(f"llama.cpp cannot read the export: {said.strip()[:300]}")
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def main() -> None:
    """Load, answer, end."""
    answers_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    questions = json.loads(sys.stdin.buffer.read())
    ask = _serve(sys.argv[1])
    vocab_size = questions["vocab_size"]

    def complete(prompt: list[int], **options: Any) -> Any:
        common = {"temperature": 0, "cache_prompt": False, "return_tokens": True}
        return ask("/completion", {"prompt": prompt, **common, **options})

    def logprobs(prompt: list[int]) -> list[float]:
        # Of an end, or of a half character, the server would give none; so a letter is to follow. What it gives are
        # the model's own, as they were before this bias.
        letter = [[questions["letter"], 1e6]]
        (first,) = complete(prompt, n_predict=1, n_probs=vocab_size, logit_bias=letter)[
            "completion_probabilities"
        ]
        found = {entry["id"]: entry["logprob"] for entry in first["top_logprobs"]}
        return [found[token_id] for token_id in range(vocab_size)]

    def tokens(text: str) -> list[int]:
        ids: list[int] = ask("/tokenize", {"content": text, "add_special": False, "parse_special": True})[
            "tokens"
        ]
        return ids

    answers = {
        "logprobs": [logprobs(prompt) for prompt in questions["prompts"]],
        "tokens": [tokens(text) for text in questions["texts"]],
        "greedy": complete(questions["greedy"], n_predict=questions["count"])["tokens"],
    }
    json.dump(answers, answers_to)
    answers_to.close()
    os._exit(0)  # the server's threads have nothing more to say


def _serve(path: str) -> Any:
    """A function that asks llama.cpp's server, which serves this file with float32 caches, and this process alone."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.cpuparams.n_threads = 1
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(where: str, what: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{server.listening_address}{where}",
            json.dumps(what).encode(),
            {"Content-Type": "application/json"},
        )
        with directly.open(request) as answer:
            return json.load(answer)

    return ask


if __name__ == "__main__":
    main()
