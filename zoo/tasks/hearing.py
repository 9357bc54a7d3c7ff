"""What is heard of a sound while it arrives: the answer so far, which is never revised, only continued."""

import numpy as np
import tensorflow as tf

from zoo.data import sound
from zoo.decoding.ctc import BLANK
from zoo.errors import InputError, ZooError
from zoo.tasks.task import Task


class Heard:
    """What was heard of one sound; a call adds a chunk of samples (T,) and returns the answer so far.

    Raises:
        ZooError: the task's model or its front end needs the whole sound.
    """

    def __init__(self, task: Task):
        model = task.model
        if not hasattr(model, "stream_step"):
            raise ZooError(
                f"{model.name} can't answer while sound arrives: it needs the whole sound; use `zoo predict`"
            )
        if task.settings.decoder == "lexicon":
            raise ZooError(f"{model.name} can't answer while sound arrives with decoder=lexicon: use `zoo predict`")
        task.check_complete()
        self.task = task
        _, _, front = task.front_end.stream(tf.zeros((1, 0)), tf.zeros((1,), tf.int32))
        self.state = front, model.stream_state(1)
        self.samples = self.steps = 0
        self.last, self.is_inside, self.score = BLANK, False, 0.0  # last class, whether it is inside a word
        self.words: list[dict] = []
        self.transcript = ""

        def step(waveform, state):
            frames, frame_count, front = task.front_end.stream(waveform, tf.shape(waveform)[1:], state[0])
            logits, steps, inner = model.stream_step(frames, frame_count, state[1])
            return tf.nn.log_softmax(logits[0, : steps[0]]), (front, inner)

        self._step = tf.function(step, reduce_retracing=True, autograph=False)

    def __call__(self, samples: np.ndarray) -> dict:
        if samples.ndim != 1:
            raise InputError(f"expected samples of shape (T,), got {samples.shape}")
        if samples.size:
            sound.check(samples)
        values, self.state = self._step(tf.constant(samples[np.newaxis]), self.state)
        self.samples += samples.size
        for row in values.numpy():
            label = int(row.argmax())
            self.score += float(row[label])
            self._add(label)
            self.steps += 1
        seconds = self.samples / self.task.rate
        return {"transcript": self.transcript, "score": self.score, "words": [*self.words], "seconds": seconds}

    def _add(self, label: int) -> None:
        """Adds the class of the next step."""
        is_new, self.last = label != self.last, label
        if label == BLANK:
            return
        letter = self.task.alphabet.characters[label - 1]
        if letter == " ":
            self.is_inside = False
            return
        start, end = (self._seconds(self.steps + after) for after in (0, 1))
        if is_new:
            self.transcript += letter if self.is_inside or not self.words else f" {letter}"
        if not self.is_inside:
            self.words.append({"word": "", "start": start, "end": end})
            self.is_inside = True
        word = self.words[-1]  # replaced, because earlier answers have it too
        self.words[-1] = {**word, "word": word["word"] + (letter if is_new else ""), "end": end}

    def _seconds(self, step: int) -> float:
        """The time at which a step begins, as `seconds` of the task has it."""
        frame = step * self.task.model.frames_per_step
        return max(self.task.front_end.time_of(frame - 0.5), 0.0)
