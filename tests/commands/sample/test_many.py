"""`bittygpt sample --prompt-file prompts.jsonl`: many prompts, results line by line."""

import json

import pytest

from bittygpt.commands.sample.prompts import read_prompt_list
from bittygpt.errors import UsageError


def write_prompts(folder, *records):
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def results(line, *flags):
    return [json.loads(text) for text in line("sample", "--ckpt", "runs/tiny", *flags).stdout.splitlines()]


@pytest.fixture
def line(trained):
    return trained


def test_results_are_in_the_order_of_the_prompts_each_as_it_is_alone(line, tmp_path):
    prompts = ["The owl", "", "é", "The fox said nothing to the owl at all, and then some more", "T"]
    path = write_prompts(tmp_path, *({"prompt": text, "number": n} for n, text in enumerate(prompts)))
    flags = ("--max-tokens", "15", "--seed", "3", "--num-samples", "2", "--temperature", "1.5", "--json")
    together = results(line, "--prompt-file", str(path), *flags)
    assert [(r["prompt"], r["number"], r["index"]) for r in together] == [
        (text, n, index) for n, text in enumerate(prompts) for index in (0, 1)
    ]
    for number in (0, 3):
        alone = results(line, "--prompt", prompts[number], *flags)
        assert [{**r, "number": number} for r in alone] == together[2 * number : 2 * number + 2]


def test_without_json_results_have_no_tokens(line, tmp_path):
    path = write_prompts(tmp_path, {"prompt": "The", "other": {"a": [1, None]}})
    done = line("sample", "--ckpt", "runs/tiny", "--prompt-file", str(path))
    (record,) = map(json.loads, done.stdout.splitlines())
    assert set(record) == {"prompt", "other", "text", "finish_reason", "seed", "index"}
    assert record["other"] == {"a": [1, None]}
    assert "1 prompts: " in done.stderr
    assert "tokens/s" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "a"}\n\n["b"]\n', 'line 3 has no text under "prompt"'),
        (b'{"prompt": 3}\n', 'line 1 has no text under "prompt"'),
        (b'{"text": "a"}\n', 'line 1 has no text under "prompt"'),
        (b'{"prompt": "a"\n', "line 1 is no JSON"),
        (b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n', r"line 2 is not UTF-8 \(byte 16\)"),
        (b'{"prompt": "a", "seed": 1}\n', "line 1 has a field 'seed', as the result has"),
        (b"[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_a_faulty_line_is_named(content, message, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        list(read_prompt_list(path, {"seed"}))


def test_a_fault_at_the_end_is_known_before_anything_is_generated(line, tmp_path):
    path = write_prompts(tmp_path, *[{"prompt": "a"}] * 20, {"prompt": None})
    done = line("sample", "--ckpt", "runs/tiny", "--prompt-file", str(path), code=2)
    assert "line 21" in done.stderr
    assert done.stdout == ""


def test_a_file_without_prompts_and_one_that_is_missing(line, tmp_path):
    path = write_prompts(tmp_path)
    assert (
        "holds no prompt" in line("sample", "--ckpt", "runs/tiny", "--prompt-file", str(path), code=2).stderr
    )
    path.unlink()
    done = line("sample", "--ckpt", "runs/tiny", "--prompt-file", str(path), "--json", code=2)
    assert "cannot be read: No such file" in json.loads(done.stdout)["message"]
    assert (
        "keep one"
        in line("sample", "--ckpt", "runs/tiny", "--prompt-file", str(path), "--prompt", "a", code=2).stderr
    )
