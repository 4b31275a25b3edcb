"""Which numbers go to a logger, and what one that fails may do."""

from bittygpt.tracking.loggers import Loggers, TensorBoard, scalars
from bittygpt.training.checkpoints.run_folder import RunFolder


def test_scalars_are_the_numbers_of_an_event_and_the_time_of_a_step_only():
    step = {"event": "step", "step": 3, "loss": 2.5, "mfu": None, "batch_hash": "ab", "elapsed": 1.0}
    assert scalars(step) == {"loss": 2.5, "elapsed": 1.0}
    assert scalars({"event": "eval", "step": 3, "val_loss": 2.0, "elapsed": 1.5}) == {"val_loss": 2.0}


class Failing:
    name = "X"

    def __init__(self):
        self.calls = []

    def take(self, event):
        self.calls.append(event)
        raise OSError("gone")

    def flush(self):
        self.calls.append("flush")

    close = flush


def test_one_that_fails_is_left_out_and_the_others_go_on():
    said, failing, good = [], Failing(), Failing()
    good.take = good.calls.append
    loggers = Loggers(said.append)
    loggers.add("X", lambda: failing)
    loggers.add("Y", lambda: good)
    for step in (1, 2):
        loggers.take({"step": step})
    loggers.flush()
    loggers.close()
    assert said == ["X failed, and the run goes on without it: OSError: gone"]
    assert failing.calls == [{"step": 1}]
    assert good.calls == [{"step": 1}, {"step": 2}, "flush", "flush"]


def test_one_that_cannot_begin_ends_no_run(tmp_path):
    (tmp_path / "tensorboard").write_text("in the way")
    said = []
    loggers = Loggers(said.append)
    loggers.add("TensorBoard", lambda: TensorBoard(RunFolder(tmp_path), 0))
    loggers.take({"event": "step", "step": 1, "loss": 1.0})
    assert len(said) == 1
    assert said[0].startswith("TensorBoard failed, and the run goes on without it: ")


def test_tensorboard_forgets_what_a_rewind_went_back_over(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(RunFolder(tmp_path), 0)
    for step in (1, 2, 3):
        board.take({"event": "step", "step": step, "loss": float(step)})
    board.take({"event": "rewind", "step": 1})
    board.take({"event": "step", "step": 2, "loss": 20.0})
    board.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 20.0)]
