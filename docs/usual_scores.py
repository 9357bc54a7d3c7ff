"""Prints the log probabilities per token of a preset's answers on its validation data, for the setting `warn_below`.

python docs/usual_scores.py PRESET...
"""

import sys

import numpy as np
import tensorflow as tf

import zoo
from zoo import preset
from zoo.data.sources import open_source

SHARES = (0.1, 0.5, 1, 2, 5, 10, 50)  # in per cent
BATCH = 64


def main(name: str) -> None:
    pipeline = zoo.pipeline(name)
    task, facts = pipeline.task, preset.open_preset(name).record["data"]
    source = open_source(facts["name"], "validation", task.fields, task.layout, facts.get("data_dir"))

    @tf.function(reduce_retracing=True)
    def answered(raw):
        inputs, error = task.checked(raw)
        return task.mean_log_probability(task.outputs(inputs)), error == ""

    values = []
    for batch in source.dataset.batch(BATCH):
        each, is_good = answered(task.raw_batch(batch))
        values += each[is_good].numpy().tolist()
    for share, value in zip(SHARES, np.percentile(values, SHARES), strict=True):
        print(f"{name}: {share:4} % of {len(values):,} validation answers lie below {value:.3f}", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(name)
