"""How well objects are kept apart: foreground-restricted Rand and information scores after border thinning.

Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers
in Neuroanatomy 9:142, doi:10.3389/fnana.2015.00142. Arrays are pictures (H, W).
"""

import numpy as np
from scipy import ndimage

# Where the eight neighbours P2 to P9 of a pixel are in a padded picture, clockwise from the one above.
_AROUND = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))


def segments(is_border: np.ndarray) -> np.ndarray:
    """The objects between borders: (H, W) bool -> (H, W), 0 on a border, and a number from 1 for each object.

    Pixels of an object touch at their sides, because borders of a width of one pixel touch at corners.
    """
    return ndimage.label(~is_border)[0]


def thinned(is_border: np.ndarray) -> np.ndarray:
    """Borders reduced to a width of one pixel, without opening them: (H, W) bool -> (H, W) bool.

    Zhang & Suen 1984, "A fast parallel algorithm for thinning digital patterns", CACM 27(3).
    """
    thin, (height, width) = is_border.copy(), is_border.shape
    while True:
        before = thin.sum()
        for corners in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            padded = np.pad(thin, 1, mode="edge")  # borders go on outside the picture, or their ends would retreat
            around = np.stack([padded[row : row + height, column : column + width] for row, column in _AROUND])
            count = around.sum(axis=0)
            starts = (~around & np.roll(around, -1, axis=0)).sum(axis=0)  # from ground to border, clockwise
            goes = (count >= 2) & (count <= 6) & (starts == 1)
            for places in corners:
                goes &= ~around[list(places)].all(axis=0)
            thin &= ~goes
        if thin.sum() == before:
            return thin


def scores(is_border: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """V_rand and V_info of a picture, between 0 and 1; 1 if its objects are those of the truth.

    With p_ij the fraction of pixels in object i of the answer and j of the truth, and s_i and t_j its sums over j and
    i: V_rand = 2 sum p_ij^2 / (sum s_i^2 + sum t_j^2), and V_info = 2 I(S; T) / (H(S) + H(T)). Only pixels inside an
    object of the truth count. A pixel of them that is on a thinned border of the answer is an object of its own.

    Args:
        is_border: the borders of the answer, (H, W) bool.
        truth: the numbers of the objects of the truth, (H, W), 0 where there is none.
    """
    answer = segments(thinned(is_border))
    inside = truth > 0
    answer, truth = answer[inside].astype("int64"), truth[inside].astype("int64")
    if not len(truth):
        return {"v_rand": 1.0, "v_info": 1.0}
    on_border = answer == 0
    answer[on_border] = answer.max(initial=0) + 1 + np.arange(on_border.sum())
    joint = _fractions(answer * (truth.max() + 1) + truth)
    own, true = _fractions(answer), _fractions(truth)
    rand = 2 * np.sum(joint**2) / (np.sum(own**2) + np.sum(true**2))
    entropy = _entropy(own) + _entropy(true)
    information = 2 * (entropy - _entropy(joint)) / entropy if entropy > 0 else 1.0
    return {"v_rand": float(rand), "v_info": float(information)}


def _fractions(numbers: np.ndarray) -> np.ndarray:
    """The fraction of the pixels that have each number."""
    return np.unique(numbers, return_counts=True)[1] / len(numbers)


def _entropy(fractions: np.ndarray) -> float:
    return float(-np.sum(fractions * np.log(fractions)))
