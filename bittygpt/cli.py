"""The four verbs and their options. A command is imported only when it runs."""

from pathlib import Path
from typing import Annotated

import typer

import bittygpt
from bittygpt.cli_options import (
    Ckpt,
    Ckpts,
    Config,
    DeviceName,
    Interactive,
    Json,
    MinP,
    Overrides,
    Prompt,
    PromptFile,
    RepetitionPenalty,
    SampleConfig,
    ScoredFile,
    Stop,
    TopP,
)
from bittygpt.errors import UsageError

app = typer.Typer(
    name="bittygpt",
    help="Train a GPT from a text file: tokenize, train, sample, export.",
    epilog="A first run: bittygpt train configs/quickstart.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bittygpt {bittygpt.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train a GPT from a text file: tokenize, train, sample, export."""


@app.command()
def tokenize(config: Config, overrides: Overrides = None, json: Json = False) -> None:
    """Turn the config's text into tokens on disk."""
    from bittygpt.commands.tokenize import tokenize as run

    run(config, overrides or [], as_json=json)


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; the old run is kept beside the new one.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Do not train: measure some steps, say how long it takes and what.")
    ] = False,
    world_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --plan: plan for N devices, on paper.")
    ] = None,
    device_name: Annotated[
        str | None, typer.Option(metavar="NAME", help='With --plan: for devices not here, such as "H100".')
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(metavar="GB/S", help="With --plan: what a device sends to others.")
    ] = None,
    mfu: Annotated[
        float | None, typer.Option(metavar="SHARE", help="With --plan: share of the peak reached; else 0.4.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Train nothing: check the code, as it is now, on this config."),
    ] = False,
    json: Json = False,
) -> None:
    """Train a model, or go on where it stopped."""
    if check and plan:
        raise typer.BadParameter("--check and --plan are two things; keep one of them")
    if check:
        from bittygpt.commands.check import check as run_checks

        run_checks(config, overrides or [], fresh=fresh, as_json=json)
        return
    paper = {"world_size": world_size, "device_name": device_name, "bandwidth": bandwidth, "mfu": mfu}
    if plan:
        from bittygpt.commands.plan import plan as make_plan

        make_plan(config, overrides or [], fresh=fresh, as_json=json, **paper)  # type: ignore[arg-type]
        return
    if given := [name for name, value in paper.items() if value is not None]:
        raise typer.BadParameter(f"--{given[0].replace('_', '-')} goes with --plan")
    from bittygpt.commands.train import train as run

    run(config, overrides or [], fresh=fresh, as_json=json)


@app.command()
def sample(
    ckpt: Ckpt,
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens to generate.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest tokens.")] = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    num_samples: Annotated[int | None, typer.Option(help="Texts to generate.")] = None,
    stop: Stop = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same text.")] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Do not end at <|endoftext|>.")] = False,
    novelty: Annotated[
        bool, typer.Option("--novelty", help="Say how much of the text is copied from the training data.")
    ] = False,
    interactive: Interactive = False,
    score: ScoredFile = None,
    config: SampleConfig = None,
    device: DeviceName = "auto",
    json: Json = False,
) -> None:
    """Generate text from a checkpoint."""
    from bittygpt.commands.sample.command import sample as run

    run(
        ckpt,
        config=config,
        prompt=prompt,
        prompt_file=prompt_file,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        num_samples=num_samples,
        stop=stop or [],
        seed=seed,
        ignore_eos=ignore_eos,
        novelty=novelty,
        interactive=interactive,
        score=score,
        as_json=json,
        device=device,
    )


@app.command()
def export(
    ckpt: Ckpts,
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder, or file (.gguf, .pt2, .html), to write.", show_default=False),
    ],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="hf: a Hugging Face folder; gguf: a file for llama.cpp; onnx: graphs for ONNX Runtime, browsers and "
            "others; torch: a .pt2 program that runs without bittygpt; report: a page about runs.",
            show_default=False,
        ),
    ],
    dtype: Annotated[
        str, typer.Option("--dtype", help="float32, float16, bfloat16 (not onnx), or q8_0 (gguf alone).")
    ] = "float32",
    verify: Annotated[bool, typer.Option(help="Compare the export with the model.")] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the export that is at --out.")
    ] = False,
    config: SampleConfig = None,
    json: Json = False,
) -> None:
    """Write a checkpoint for other programs to load."""
    if format == "report":
        from bittygpt.commands.report import report

        report(ckpt, out=out, config=config, dtype=dtype, overwrite=overwrite, as_json=json)
        return
    if len(ckpt) > 1:
        raise UsageError(
            f"--ckpt is given {len(ckpt)} times; --format {format} takes one, only report takes several"
        )
    from bittygpt.commands.export import export as run

    run(
        ckpt[0],
        format=format,
        out=out,
        config=config,
        dtype=dtype,
        verify=verify,
        overwrite=overwrite,
        as_json=json,
    )
