"""Messages about trouble that a run has recovered from."""

from bittygpt.terminal.console import duration
from bittygpt.training.events import LowSpaceReport, OutOfTimeReport, RewindReport, SmallerMicroBatchReport

SHOWN_CHARACTERS = 80
Trouble = RewindReport | LowSpaceReport | SmallerMicroBatchReport | OutOfTimeReport


def describe_trouble(report: Trouble) -> str:
    """One line."""
    if isinstance(report, OutOfTimeReport):
        return _out_of_time(report)
    if isinstance(report, RewindReport):
        rewind = report.rewind
        is_one = rewind.first == rewind.last
        batches = f"batch {rewind.first:,}" if is_one else f"batches {rewind.first:,} to {rewind.last:,}"
        text = " ".join(rewind.text.split())[:SHOWN_CHARACTERS]
        return (
            f"step {rewind.at:,} diverged: {rewind.reason}; back to the state after step {rewind.to:,}, "
            f"leaving out {batches}, which {'begins' if is_one else 'begin'} with {text!r}"
        )
    if isinstance(report, LowSpaceReport):
        room = f"{report.needed / 1e6:,.0f} MB, and {report.free / 1e6:,.0f} MB are free"
        if report.due is None:
            return f"step {report.step:,}: the checkpoint found no room: it takes {room}; the run goes on without it"
        return f"the disk is filling up: the checkpoint of step {report.due:,} takes {room}; make room before it is due"
    return f"step {report.step:,}: out of memory; done again with micro-batches of {report.micro_batch_size}"


def _out_of_time(report: OutOfTimeReport) -> str:
    if report.what == "evaluation":
        return f"step {report.step:,}: the time budget is used up; the evaluation was broken off"
    budget, needed = duration(report.budget), duration(report.needed)
    if report.what == "evaluations":
        return (
            f"an evaluation would take about {needed} of a time budget of {budget}, so none is made; "
            "set train.eval_tokens lower"
        )
    if report.step:
        return f"the time budget of {budget} has no room for another step"
    return (
        f"the time budget of {budget} has no room for a step: the start alone took {needed}; one is taken "
        "all the same, so that there is a checkpoint; give train.time_budget more"
    )
