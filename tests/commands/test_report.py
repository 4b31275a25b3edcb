"""`report.html` and `bittygpt export --format report` through the real command line."""

import json
import shutil
import signal

import pytest


def facts(html):
    table = html.split('<table class="facts"')[1].split("</table>")[0]
    rows = [row.split("</tr>")[0] for row in table.split("<tr>")[1:]]
    return {
        row.split('<th scope="row">')[1].split("</th>")[0]: row.split("<td>")[1].split("</td>")[0]
        for row in rows
    }


def test_a_run_leaves_its_page_with_the_numbers_of_its_log(trained):
    html = (trained.folder / "runs/tiny/report.html").read_text("utf-8")
    steps, evals = ([e for e in trained.events() if e["event"] == kind] for kind in ("step", "eval"))
    told = facts(html)
    assert told["state"] == "finished"
    assert told["steps"] == "12 of 12"
    assert told["tokens"] == f"{steps[-1]['tokens']:,}"
    assert told["training loss"] == f"{steps[-1]['loss']:.4f}"
    assert told["validation loss"] == f"{evals[-1]['val_loss']:.4f}"
    assert told["bits per byte"] == f"{evals[-1]['val_bpb']:.4f}"
    assert told["checkpoint"] == "checkpoints/step-00000012"
    assert "http" not in html
    assert "uniform 5.6" in html
    assert 'scope="row"><code>optim.lr</code>' in html, "what differs from the defaults"
    assert "rope_theta: 10000" in html, "the config in full"


def test_the_first_event_tells_what_trains_and_a_resumed_run_says_so(trained, bittygpt):
    shutil.copytree(trained.folder / "runs", bittygpt.folder / "runs")
    shutil.copytree(trained.folder / "data", bittygpt.folder / "data")
    shutil.rmtree(bittygpt.folder / "runs/tiny/checkpoints/step-00000012")
    bittygpt("train", "tiny.yaml")
    start, *rest = bittygpt.events()
    assert (start["event"], start["step"], start["device"], start["ranks"]) == ("start", 0, "cpu", 1)
    assert start["ladder"][0]["name"] == "uniform"
    assert start["parameters"] > 1000
    resumed = [event for event in rest if event["event"] == "resume"]
    assert [(event["step"], event["reached"]) for event in resumed] == [(8, 12)]
    assert "resumed after step 8" in (bittygpt.folder / "runs/tiny/report.html").read_text()
    assert "4 steps done again" in (bittygpt.folder / "runs/tiny/report.html").read_text()


def test_a_stopped_run_has_its_page_too(bittygpt):
    long = ["train.max_steps=100000", "train.save_every=100000", "train.eval_every=100000"]
    process = bittygpt.start("train", "tiny.yaml", *long)
    bittygpt.stop_when("runs/tiny/metrics.jsonl", process, signal.SIGTERM)
    html = (bittygpt.folder / "runs/tiny/report.html").read_text()
    assert facts(html)["state"] == "interrupted"
    assert "interrupted, with a checkpoint" in html
    assert bittygpt.events()[-1]["event"] == "interrupted"


def test_runs_side_by_side_from_wherever_they_lie(trained, bittygpt, tmp_path):
    source = trained.folder / "runs/tiny"
    shutil.copytree(source, tmp_path / "usb/other", ignore=shutil.ignore_patterns("checkpoints"))
    config = tmp_path / "usb/other/config.yaml"
    config.write_text(config.read_text().replace("name: tiny", "name: other").replace("keep: 2", "keep: 7"))
    both = ["--ckpt", f"{source}:best", "--ckpt", "usb/other"]
    done = bittygpt("export", "--format", "report", *both, "--out", "both.html")
    assert done.stdout == "both.html: 2 runs\n"
    html = (bittygpt.folder / "both.html").read_text()
    assert "train.keep" in html
    assert 'data-name="tiny"' in html
    assert 'data-name="other"' in html
    refused = bittygpt("export", "--format", "report", *both, "--out", "both.html", code=2)
    assert "both.html exists" in refused.stderr
    one = ["--ckpt", str(source / "checkpoints/step-00000012"), "--out", "both.html", "--overwrite", "--json"]
    assert json.loads(bittygpt("export", "--format", "report", *one).stdout)["runs"] == [str(source)]
    assert facts((bittygpt.folder / "both.html").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--format", "hf", "--ckpt", "RUN", "--ckpt", "RUN"),
            "--format hf takes one, only report takes several",
        ),
        (("--format", "report", "--ckpt", "RUN", "--ckpt", "RUN:best"), "the run tiny is named twice"),
        (("--format", "report", "--ckpt", "nowhere"), "nowhere has no metrics.jsonl to report on"),
        (("--format", "report", "--ckpt", "RUN", "--dtype", "float16"), "--dtype: a report holds no model"),
        (("--format", "nothing", "--ckpt", "RUN"), "the formats are: "),
    ],
)
def test_what_cannot_be_reported_on_is_said(trained, bittygpt, arguments, said):
    run = str(trained.folder / "runs/tiny")
    arguments = [argument.replace("RUN", run) for argument in arguments]
    assert said in bittygpt("export", *arguments, "--out", "out.html", code=2).stderr
    assert not (bittygpt.folder / "out.html").exists()
    assert (
        "is a folder" in bittygpt("export", "--format", "report", "--ckpt", run, "--out", ".", code=2).stderr
    )
