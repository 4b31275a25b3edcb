"""Texts that the model in training writes, with the settings of the config's `sample:` section."""

from collections.abc import Callable, Iterator

from bittygpt.sampling.completion import Completion
from bittygpt.sampling.generate import SamplingOptions, generate
from bittygpt.tokenizer.tokenizer import StreamingDecoder
from bittygpt.training.events import SampleReport
from bittygpt.training.loop import Trainer


class TrainingSamples:
    """Writes texts with the weights as they are, and leaves no trace in the run.

    Nothing is drawn from any generator but each text's own, so a run is the same with and without. With several ranks
    rank 0 writes, and the others wait for it in the next step. A model of which each rank holds a part would need all
    of them for every token: there none is written, which is said once.

    Args:
        say: told why there are no texts.
    """

    def __init__(self, trainer: Trainer, say: Callable[[str], None]) -> None:
        self._trainer, self._say = trainer, say
        self._reason = "each rank holds only a part of the model" if trainer.executor.shards > 1 else ""
        if self._reason and trainer.config.train.sample_every is not None:
            self._give_up()

    def _give_up(self) -> None:
        self._say(f"train.sample_every: no texts are written: {self._reason}")

    def write(self, stop_asked: Callable[[], bool]) -> Iterator[SampleReport]:
        """As many texts as `sample.num_samples` says; none when a stop is asked for meanwhile."""
        if self._reason:
            return
        model = self._trainer.model
        was_training = model.training
        try:
            model.eval()
            texts = self._texts(stop_asked)
        except Exception as error:  # memory, scores that are not finite: no text is worth a run
            self._reason = f"{type(error).__name__}: {error}"
            self._give_up()
            return
        finally:
            model.train(was_training)
        prompt = self._trainer.config.sample.prompt
        for text in texts:
            yield SampleReport(self._trainer.step, prompt, text, self._trainer.elapsed())

    def _texts(self, stop_asked: Callable[[], bool]) -> list[str]:
        trainer, tokenizer = self._trainer, self._trainer.tokenizer
        settings = trainer.config.sample.model_dump(exclude={"prompt", "num_samples"})
        number, end = trainer.config.sample.num_samples, tokenizer.end_of_text_id
        completions = [Completion(StreamingDecoder(tokenizer), (), end) for _ in range(number)]
        prompt_ids = tokenizer.encode(trainer.config.sample.prompt)
        with trainer.device.autocast():
            for step in generate(trainer.model, prompt_ids, SamplingOptions(**settings), end, number):
                if stop_asked():
                    return []
                for completion, token in zip(completions, step, strict=True):
                    if token is not None:
                        completion.push(token)
        for completion in completions:
            completion.finish("length")
        return [completion.text for completion in completions]
