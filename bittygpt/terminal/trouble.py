"""What a run says of trouble that it came through."""

from bittygpt.training.reports import LowSpaceReport, RewindReport, SmallerMicroBatchReport

SHOWN_CHARACTERS = 80


def describe_trouble(report: RewindReport | LowSpaceReport | SmallerMicroBatchReport) -> str:
    """One line."""
    if isinstance(report, RewindReport):
        rewind = report.rewind
        is_one = rewind.first == rewind.last
        batches = f"batch {rewind.first:,}" if is_one else f"batches {rewind.first:,} to {rewind.last:,}"
        text = " ".join(rewind.text.split())[:SHOWN_CHARACTERS]
        return (
            f"step {rewind.at:,} diverged: {rewind.reason}; back to the state after step {rewind.to:,}, "
            f"leaving out {batches}, which begins with {text!r}"
        )
    if isinstance(report, LowSpaceReport):
        room = f"{report.needed / 1e6:,.0f} MB, and {report.free / 1e6:,.0f} MB are free"
        if report.due is None:
            return f"step {report.step:,}: the checkpoint found no room: it takes {room}; the run goes on without it"
        return f"the disk is filling up: the checkpoint of step {report.due:,} takes {room}; make room before it is due"
    return f"step {report.step:,}: out of memory; done again with micro-batches of {report.micro_batch_size}"
