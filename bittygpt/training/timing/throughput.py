"""How fast a run goes: tokens a second, the share of the device's peak, the time spent waiting for data."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bittygpt.training.devices.device import Device
from bittygpt.training.events import StepReport
from bittygpt.training.step import StepResult


class ThroughputMeter:
    """Counts between two reports."""

    def __init__(self, device: Device, tokens_per_step: int, flops_per_token: int, world_size: int) -> None:
        self.device, self.tokens_per_step = device, tokens_per_step
        self.flops_per_token, self.world_size = flops_per_token, world_size
        self.restart(0)

    def restart(self, step: int) -> None:
        """Count from now on, after `step` steps, leaving out what came before (an evaluation, say)."""
        self.since, self.first_step, self.waited = time.perf_counter(), step, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What is done within is waiting for data."""
        since = time.perf_counter()
        yield
        self.waited += time.perf_counter() - since

    def report(self, step: int, result: StepResult, lr: float, batch_hash: str, elapsed: float) -> StepReport:
        """The report of the step just taken; the next one counts from here."""
        self.device.synchronize()
        steps = step - self.first_step
        rate = steps * self.tokens_per_step / (time.perf_counter() - self.since)
        peak = self.device.peak_flops()
        report = StepReport(
            step=step,
            tokens=step * self.tokens_per_step,
            loss=result.loss,
            grad_norm=result.grad_norm,
            lr=lr,
            tokens_per_second=rate,
            mfu=rate * self.flops_per_token / (peak * self.world_size) if peak else None,
            data_wait=self.waited / steps,
            memory_gb=self.device.peak_memory_gb(),
            batch_hash=batch_hash,
            elapsed=elapsed,
        )
        self.restart(step)
        return report
