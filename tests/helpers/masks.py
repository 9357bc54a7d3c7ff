"""Pictures of bright cells on a dark ground with noise, and their masks. Nothing here imports zoo."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_cells(size: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W) uint8 of a few discs, and its mask: 1 inside a disc."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, "uint8")
    for _ in range(4):
        row, column = random.uniform(0, size[0]), random.uniform(0, size[1])
        mask |= ((rows - row) ** 2 + (columns - column) ** 2 < random.uniform(4, 9) ** 2).astype("uint8")
    picture = np.clip(60 + 120 * mask + random.normal(0, 10, size), 0, 255).astype("uint8")
    return picture, mask


def draw_mask_folder(folder: Path, count: int = 10, size: tuple[int, int] = (40, 40)) -> Path:
    """A folder with `count` pictures and their masks, class numbers 0 and 1, for zoo.data.mask_folders."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        picture, mask = draw_cells(size, number)
        Image.fromarray(picture).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    (folder / "classes.txt").write_text("membrane\ncell\n")
    return folder
