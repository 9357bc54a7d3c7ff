"""Prints V_rand and V_info on a preset's validation data for values of `boundary_threshold`, and the best of them.

python docs/boundary_threshold.py PRESET
"""

import sys

import numpy as np

from zoo import preset, segments
from zoo.data.sources import open_source
from zoo.layers.folding import fold_batch_normalization
from zoo.tasks import task_of

THRESHOLDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8)


def main(name: str) -> None:
    opened = preset.open_preset(name)
    task, facts = task_of(fold_batch_normalization(preset.load_model(opened))), opened.record["data"]
    source = open_source(facts["name"], "validation", task.fields, task.layout, facts.get("data_dir"))
    found: dict[float, list[dict]] = {threshold: [] for threshold in THRESHOLDS}
    wrong = []
    for probabilities, mask in task.answered(source):
        truth, probability = task.objects(mask), probabilities[..., task.boundary]
        wrong.append(np.mean(np.argmax(probabilities, axis=-1) != mask))
        for threshold, rows in found.items():
            rows.append(segments.scores(probability >= threshold, truth))
    print(f"{name}: {len(wrong)} validation pictures, pixel error {np.mean(wrong):.4f}")
    print("threshold  v_rand  v_info")
    means = {threshold: [np.mean([row[key] for row in rows]) for key in ("v_rand", "v_info")]
             for threshold, rows in found.items()}  # fmt: skip
    for threshold, (rand, information) in means.items():
        print(f"{threshold:9.3f}  {rand:.4f}  {information:.4f}")
    best = max(means, key=lambda threshold: means[threshold][0])
    print(f"best: boundary_threshold = {best}, v_rand {means[best][0]:.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
