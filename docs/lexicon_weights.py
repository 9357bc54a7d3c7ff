"""Prints the word error rate on a preset's validation data for settings of decoder = lexicon, and the best of them.

python docs/lexicon_weights.py PRESET
"""

import sys

import tensorflow as tf

from zoo import metrics, preset
from zoo.data.sources import open_source
from zoo.tasks import task_of
from zoo.tasks.dataset import stream
from zoo.tasks.outputs.transcription import transcripts_of

WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
BONUSES = (-1.0, 0.0, 1.0, 2.0)
BATCH = 32


def main(name: str) -> None:
    opened = preset.open_preset(name)
    task, facts = task_of(preset.load_model(opened), decoder="lexicon"), opened.record["data"]
    source = open_source(facts["name"], "validation", task.fields, task.layout, facts.get("data_dir"))
    forward = tf.function(
        lambda inputs: tf.nn.log_softmax(task.model(inputs, training=False)["logits"]), reduce_retracing=True
    )
    items = []
    for inputs, *_ in stream(task, source, BATCH, augment=False, shuffle=False).epoch(0):
        steps = inputs["frame_count"] // task.model.frames_per_step
        items += [each[:count] for each, count in zip(forward(inputs).numpy(), steps, strict=True)]
    transcripts, rates = transcripts_of(source), {}
    print(f"{name}: word error rate on {len(items):,} validation sounds")
    print("weight \\ bonus", *(f"{bonus:7.2f}" for bonus in BONUSES))
    for weight in WEIGHTS:
        for bonus in BONUSES:
            found = [task.known_words(each, weight=weight, bonus=bonus) for each in items]
            texts = [" ".join(task.words.lexicon.words[word] for word in each.words) for each in found]
            rates[weight, bonus] = metrics.transcription_figures(texts, transcripts)[0]["word_error_rate"]
        print(f"{weight:14.2f}", *(f"{rates[weight, bonus]:7.2%}" for bonus in BONUSES), flush=True)
    weight, bonus = min(rates, key=rates.__getitem__)
    print(f"best: lexicon_weight = {weight}, word_bonus = {bonus}, {rates[weight, bonus]:.2%}")


if __name__ == "__main__":
    main(sys.argv[1])
