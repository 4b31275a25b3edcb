"""What the options of the command line are called, and what `--help` says of them."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file that describes the run.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Keys to override, as in optim.lr=3e-4.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable results on stdout.")]
Ckpt = Annotated[
    str,
    typer.Option(
        "--ckpt", metavar="PATH", help="runs/NAME, runs/NAME:best or a checkpoint folder.", show_default=False
    ),
]
Ckpts = Annotated[
    list[str],
    typer.Option(
        "--ckpt",
        metavar="PATH",
        help="runs/NAME, runs/NAME:best or a checkpoint folder; for report also several times.",
        show_default=False,
    ),
]
SampleConfig = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="YAML file whose sample: section is laid over the run's own."
    ),
]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Prompt = Annotated[
    str | None, typer.Option(help="Text to go on from; else --prompt-file, a pipe or the config.")
]
PromptFile = Annotated[
    Path | None,
    typer.Option(help="File with the prompt, - is the standard input; many prompts in a .jsonl file."),
]
TopP = Annotated[float | None, typer.Option(help="Choose among the likeliest that hold this probability.")]
MinP = Annotated[float | None, typer.Option(help="Drop tokens below this share of the likeliest one's.")]
RepetitionPenalty = Annotated[float | None, typer.Option(help="Above 1: seen tokens get less likely.")]
Stop = Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")]
Interactive = Annotated[
    bool, typer.Option("--interactive", "-i", help="Take prompts from the keyboard, one after the other.")
]
ScoredFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Loss and bits per byte of this text, and none is generated."),
]
