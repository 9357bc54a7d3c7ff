"""Average precision of detected objects by the definition of COCO (Lin et al. 2014, arXiv 1405.0312, and
https://cocodataset.org/#detection-eval), as its program computes it for objects of all sizes.

An object is a row (class, ymin, xmin, ymax, xmax), a detection a row (class, probability, ymin, xmin, ymax, xmax).
"""

import numpy as np

OVERLAPS = np.linspace(0.5, 0.95, 10)  # thresholds of intersection over union
RECALLS = np.linspace(0.0, 1.0, 101)


def figures(truths: list[np.ndarray], found: list[np.ndarray], labels: list[str], most: int = 100) -> dict[str, float]:
    """The metrics of detections.

    Args:
        truths: for each picture its objects (M, 5).
        found: for each picture the detections (D, 6).
        labels: names of the classes.
        most: number of detections of a class in a picture, best first, that count.

    Returns:
        `map_50`, the mean over the classes of the average precision at an overlap of 0.5; `map_50_95`, its mean over
        OVERLAPS; and `average_precision_50_LABEL`, that of each class. Classes without objects are left out.
    """
    table = {
        label: precision
        for number, label in enumerate(labels)
        if (precision := of_class(_rows(truths, number), _rows(found, number), most)) is not None
    }
    values = {
        "map_50": float(np.mean([precision[0] for precision in table.values()])) if table else 0.0,
        "map_50_95": float(np.mean([*table.values()])) if table else 0.0,
    }
    return values | {f"average_precision_50_{label}": float(precision[0]) for label, precision in table.items()}


def _rows(pictures: list[np.ndarray], number: int) -> list[np.ndarray]:
    """The rows of one class in each picture, without the class."""
    return [rows[rows[:, 0] == number, 1:].astype("float64") for rows in pictures]


def of_class(truths: list[np.ndarray], found: list[np.ndarray], most: int = 100) -> np.ndarray | None:
    """The average precision at each of OVERLAPS, (10,); None without objects.

    Args:
        truths: for each picture the boxes (M, 4).
        found: for each picture rows (D, 5) of a probability and a box.
        most: number of detections of a picture that count.
    """
    total = sum(map(len, truths))
    if not total:
        return None
    found = [rows[np.argsort(-rows[:, 0], kind="stable")][:most] for rows in found]
    are_right = [_matched(own, rows[:, 1:]) for own, rows in zip(truths, found, strict=True)]
    order = np.argsort(-np.concatenate([rows[:, 0] for rows in found]), kind="stable")
    right = np.concatenate(are_right, axis=1)[:, order]  # (10, detections)
    return np.array([_average(row, total) for row in right])


def _matched(truths: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Whether each detection (D, 4), best first, is right at each of OVERLAPS: (10, D).

    A detection takes the object of the greatest overlap of those that no earlier one took; the last one of equals.
    """
    right = np.zeros((len(OVERLAPS), len(found)), bool)
    if not len(truths):
        return right
    overlap = overlaps(found, truths)
    for level, least in enumerate(OVERLAPS):
        is_free = np.ones(len(truths), bool)
        for place, own in enumerate(overlap):
            best = np.max(own, where=is_free, initial=-1.0)
            if best >= least:
                taken = np.flatnonzero(is_free & (own == best))[-1]
                is_free[taken], right[level, place] = False, True
    return right


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union: (N, 4) and (M, 4) -> (N, M)."""
    boxes, others = boxes[:, np.newaxis], others[np.newaxis]
    low, high = np.maximum(boxes[..., :2], others[..., :2]), np.minimum(boxes[..., 2:], others[..., 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    areas = np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) + np.prod(others[..., 2:] - others[..., :2], axis=-1)
    return shared / np.maximum(areas - shared, 1e-30)


def _average(right: np.ndarray, total: int) -> float:
    """The mean of the greatest precision at or beyond each of RECALLS, from detections in order, best first."""
    hits = np.cumsum(right)
    recall, precision = hits / total, hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())
