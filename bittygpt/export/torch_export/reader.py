"""Runs a `.pt2` program as its users do, in a process that knows of no bittygpt; see `program.py`.

    python reader.py FILE FOLDER

`questions.pt` in the folder holds `ids`, a list of (B, T), a greedy `prompt` and its `count`, and a length that is
`too_long`; what the program says goes to `answers.pt`, and its tokenizer, if it has one, to `tokenizer.json`.
"""

import sys
from pathlib import Path
from typing import Any


def answer(path: str, questions: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What the program in a file says, and its `tokenizer.json`, empty if it has none."""
    import torch

    extra_files = {"tokenizer.json": ""}
    program: Any = torch.export.load(path, extra_files=extra_files).module()
    greedy = list(questions["prompt"])
    with torch.inference_mode():
        logits = [program(ids).float() for ids in questions["ids"]]
        for _ in range(questions["count"]):
            greedy.append(int(program(torch.tensor([greedy]))[0, -1].argmax()))
        try:
            program(torch.zeros(1, questions["too_long"], dtype=torch.int64))
            refuses = False
        except Exception:  # PyTorch has had several for an input that breaks a guard
            refuses = True
    answers = {"logits": logits, "greedy": greedy[len(questions["prompt"]) :], "refuses_too_long": refuses}
    return answers, extra_files["tokenizer.json"]


def main() -> None:
    """Load, answer, end."""
    sys.modules["bittygpt"] = None  # type: ignore[assignment]  # to import it is an error from here on
    import torch

    path, folder = sys.argv[1], Path(sys.argv[2])
    answers, tokenizer_json = answer(path, torch.load(folder / "questions.pt"))
    if tokenizer_json:
        (folder / "tokenizer.json").write_text(tokenizer_json, "utf-8")
    torch.save(answers, folder / "answers.pt")


if __name__ == "__main__":
    main()
