"""Average precision of detections: against pycocotools, and by hand."""

import contextlib
import io

import numpy as np
import pytest

from zoo import average_precision

LABELS = ["a", "b", "c"]


def random_pictures(seed: int, pictures: int = 12) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Objects of three classes, and detections: moved objects, some of another class, and boxes anywhere.

    Many probabilities are equal, the boxes have whole coordinates, and a picture has no objects.
    """
    random = np.random.default_rng(seed)
    truths, found = [], []
    for picture in range(pictures):
        count = random.integers(1, 7) if picture else 0
        corner, side = random.integers(0, 60, (count, 2)), random.integers(5, 40, (count, 2))
        classes = random.integers(0, 3, (count, 1))
        truths.append(np.concatenate([classes, corner, corner + side], axis=1).astype(float))
        moved = np.concatenate([corner, corner + side], axis=1) + random.integers(-3, 4, (count, 4))
        anywhere = random.integers(0, 60, (4, 2))
        boxes = np.concatenate([moved, np.concatenate([anywhere, anywhere + random.integers(4, 30, (4, 2))], axis=1)])
        kinds = np.concatenate([classes, random.integers(0, 3, (4, 1))])
        kinds = np.where(random.random(kinds.shape) < 0.2, random.integers(0, 3, kinds.shape), kinds)
        scores = np.round(random.random(kinds.shape), 1)
        rows = np.concatenate([kinds, scores, boxes], axis=1)
        found.append(np.concatenate([rows, rows[:2]]))  # some twice
    return truths, found


def by_pycocotools(truths, found, most: int) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def box(row):
        ymin, xmin, ymax, xmax = map(float, row)
        return [xmin, ymin, xmax - xmin, ymax - ymin]

    known = COCO()
    known.dataset = {
        "images": [{"id": number} for number in range(len(truths))],
        "categories": [{"id": number, "name": label} for number, label in enumerate(LABELS)],
        "annotations": [],
    }
    for picture, rows in enumerate(truths):
        for row in rows:
            entry = {"image_id": picture, "category_id": int(row[0]), "bbox": box(row[1:]), "iscrowd": 0}
            area = entry["bbox"][2] * entry["bbox"][3]
            known.dataset["annotations"].append({**entry, "area": area, "id": len(known.dataset["annotations"]) + 1})
    results = [
        {"image_id": picture, "category_id": int(row[0]), "score": float(row[1]), "bbox": box(row[2:])}
        for picture, rows in enumerate(found)
        for row in rows
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (overlaps, recalls, classes)
    values = {"map_50": precision[0].mean(), "map_50_95": precision.mean()}
    return values | {f"average_precision_50_{label}": precision[0, :, n].mean() for n, label in enumerate(LABELS)}


@pytest.mark.parametrize("most", [100, 2])
@pytest.mark.parametrize("seed", range(5))
def test_the_metrics_are_those_of_pycocotools(seed, most):
    truths, found = random_pictures(seed)
    ours = average_precision.figures(truths, found, LABELS, most)
    expected = by_pycocotools(truths, found, most)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name
    assert 0.02 < ours["map_50_95"] < ours["map_50"] < 0.95


def brute_force(truths, found, least: float) -> float:
    """The average precision of one class from its definition: for each recall, the best precision of any prefix."""
    order = sorted(
        ((row[0], -picture, -place) for picture, rows in enumerate(found) for place, row in enumerate(rows)),
        reverse=True,
    )
    taken, hits, points = set(), 0, []
    for done, (_, picture, place) in enumerate(order, start=1):
        box = found[-picture][-place, 1:]
        best, chosen = least, None
        for number, truth in enumerate(truths[-picture]):
            shared = np.prod([max(0.0, min(box[n + 2], truth[n + 2]) - max(box[n], truth[n])) for n in (0, 1)])
            areas = sum((each[2] - each[0]) * (each[3] - each[1]) for each in (box, truth))
            if shared / (areas - shared) >= best and (picture, number) not in taken:
                best, chosen = shared / (areas - shared), (picture, number)
        hits += chosen is not None
        taken.add(chosen)
        points.append((hits / sum(map(len, truths)), hits / done))
    recalls = np.linspace(0, 1, 101)
    return float(np.mean([max((p for r, p in points if r >= recall), default=0.0) for recall in recalls]))


@pytest.mark.parametrize("seed", range(3))
def test_the_definition(seed):
    truths, found = random_pictures(seed)
    truths, found = ([rows[rows[:, 0] == 1, 1:] for rows in side] for side in (truths, found))
    ours = average_precision.of_class(truths, found)
    for least, value in zip(average_precision.OVERLAPS, ours, strict=True):
        assert value == pytest.approx(brute_force(truths, found, least), abs=1e-12)


def test_by_hand():
    """Two objects; the best detection is right, the second is wrong, the third right: precisions 1, 1/2, 2/3."""
    truths = [np.array([[0, 0, 0, 10, 10], [0, 20, 20, 30, 30]], float)]
    found = [np.array([[0, 0.9, 0, 0, 10, 10], [0, 0.8, 50, 50, 60, 60], [0, 0.7, 20, 20, 30, 30]], float)]
    values = average_precision.figures(truths, found, ["a", "absent"])
    expected = (51 * 1.0 + 50 * 2 / 3) / 101  # recalls up to 0.5, and above
    assert values == pytest.approx({"map_50": expected, "map_50_95": expected, "average_precision_50_a": expected})


def test_nothing_found():
    truths, empty = [np.array([[0, 0, 0, 10, 10]], float)], [np.zeros((0, 6))]
    assert average_precision.figures(truths, empty, ["a"])["map_50"] == 0.0
    assert average_precision.figures([np.zeros((0, 5))], empty, ["a"]) == {"map_50": 0.0, "map_50_95": 0.0}
