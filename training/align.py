"""The phone of every frame, from a forced alignment by a model that was trained with CTC on phones.

    zoo train blstm_ctc.an4_phones --out runs/an4_phones
    python -m zoo.training.align runs/an4_phones --out ~/tensorflow_datasets/downloads/manual/an4/phones.tsv

TFDS builds `an4_frames` from this file once; remove ~/tensorflow_datasets/an4_frames after a change.

The likeliest path of a transcript (`zoo.decoding.ctc.align`) has each phone at a few steps only, its peak, and blanks
between peaks. A blank frame gets the phone of the nearest peak, so the border between two phones is in the middle
between their peaks. A frame that is further than `reach` frames from any peak is silence, as is what lies further out
at the ends of the utterance. The spaces between words have no frames.

This is simpler than an alignment by a hidden Markov model, and borders are correct to a few frames only, because a peak
may lie anywhere in its phone.
"""

from pathlib import Path

import click
import numpy as np
import tensorflow as tf

from zoo import preset
from zoo.data import phones
from zoo.data.sources import open_source
from zoo.decoding import ctc
from zoo.errors import ZooError, checked_path
from zoo.tasks import task_of

SPLITS = ("train", "validation", "test")
REACH = 8  # frames of 10 ms


def spread(peaks: list[tuple[str, int, int]], frame_count: int, reach: int = REACH) -> list[tuple[str, int]]:
    """Peaks of phones -> the phones of all frames, and silence.

    Args:
        peaks: each phone with the first frame of its peak and the one after its last, in order.
        frame_count: number of frames of the utterance.
        reach: the most frames that a phone goes on before and after its peak.

    Returns:
        Each phone with its number of frames, which is 1 or more.

    >>> spread([("HH", 10, 13), ("AH", 15, 18), ("L", 60, 63)], 100, reach=8)
    [('SIL', 2), ('HH', 12), ('AH', 12), ('SIL', 26), ('L', 19), ('SIL', 29)]
    """
    runs: list[tuple[str, int]] = []
    end = 0  # of the last run
    for number, (phone, start, stop) in enumerate(peaks):
        first = max(start - reach, end)
        last = min(stop + reach, frame_count)
        if number + 1 < len(peaks):
            last = min(last, (stop + peaks[number + 1][1]) // 2)
        runs += [(phones.SILENCE, first - end), (phone, last - first)]
        end = last
    runs.append((phones.SILENCE, frame_count - end))
    return [(phone, frames) for phone, frames in runs if frames]


def align(run: str, out: Path, reach: int = REACH, data_dir: str | None = None) -> int:
    """Writes the phones of all utterances of the data set that a run was trained on; returns their number.

    Args:
        run: a preset of CTC on transcripts in the letters of `zoo.data.phones`.
        out: the file to write.
        reach: see `spread`.
        data_dir: the folder of TFDS's data; by default ~/tensorflow_datasets.

    Raises:
        ZooError: the preset has no alphabet of phones, or an utterance has more phones than steps.
    """
    source = preset.open_preset(run)
    task = task_of(preset.load_model(source))
    names = {letter: phone for phone, letter in phones.LETTERS.items()}
    letters = getattr(getattr(task, "alphabet", None), "characters", "")
    if not letters or not {*letters} <= {*names, " "}:
        raise ZooError(f"{run} does not write phones as letters: train blstm_ctc.an4_phones")
    step = task.model.frames_per_step

    specs = [tf.TensorSpec(shape, dtype) for shape, dtype in (((None, None, task.alphabet.size), tf.float32),
             ((None,), tf.int32), ((None, None), tf.int32), ((None,), tf.int32))]  # fmt: skip
    best_path = tf.function(ctc.align, input_signature=specs, autograph=False)

    @tf.function(reduce_retracing=True, autograph=False)
    def aligned(example):
        inputs = {name: value[tf.newaxis] for name, value in task.preprocess(task.read(example)).items()}
        logits, labels = task.model(inputs, training=False)["logits"], task.targets(example)
        count = tf.shape(logits)[1][tf.newaxis]
        return labels, best_path(logits, count, labels[tf.newaxis], tf.size(labels)[tf.newaxis])

    alignments = []
    for split in SPLITS:
        examples = open_source(source.record["data"]["name"], split, (*task.fields, "name"), data_dir=data_dir)
        for example in examples.dataset:
            name, frame_count = example["name"].numpy().decode(), len(example["frames"])
            labels, alignment = aligned({key: example[key] for key in ("frames", "transcript")})
            if np.any(alignment.ends[0] <= alignment.starts[0]):
                raise ZooError(f"{name} has more phones than steps: train {run} with a smaller stack")
            peaks = [
                (names[letters[label - 1]], int(start) * step, int(end) * step)
                for label, start, end in zip(labels.numpy(), alignment.starts[0], alignment.ends[0], strict=True)
                if letters[label - 1] != " "
            ]
            alignments.append((name, spread(peaks, frame_count, reach)))
    phones.write_alignments(out, alignments)
    return len(alignments)


@click.command()
@click.argument("run")
@click.option("--out", required=True, metavar="FILE", help="The file to write, such as phones.tsv.")
@click.option("--reach", default=REACH, show_default=True, help="Most frames of a phone before and after its peak.")
@click.option("--data-dir", metavar="DIR", help="The folder of TFDS's data.")
def main(run: str, out: str, reach: int, data_dir: str | None) -> None:
    """Write the phone of every frame of the data of RUN, a preset trained with CTC on phones."""
    try:
        count = align(run, checked_path(out, "out"), reach, data_dir)
    except (ZooError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{count:,} utterances written to {out}")


if __name__ == "__main__":
    main()
