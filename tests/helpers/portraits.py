"""Synthetic portraits: ovals with eyes and a mouth, whose places belong to a person."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw_portrait(person: int, number: int, size: tuple[int, int] = (46, 56)) -> Image.Image:
    """A grey portrait of (width, height) pixels; portraits of a person differ in light and place."""
    face, own = np.random.default_rng(person), np.random.default_rng([person, number])
    width, height = size
    picture = Image.new("L", size, int(own.integers(20, 60)))
    pen = ImageDraw.Draw(picture)
    x, y = width / 2 + own.uniform(-1, 1), height / 2 + own.uniform(-1, 1)
    half, tall = face.uniform(0.25, 0.4) * width, face.uniform(0.3, 0.45) * height
    skin = int(face.integers(110, 220) + own.integers(-8, 8))
    pen.ellipse((x - half, y - tall, x + half, y + tall), fill=skin)
    apart, high, eye = face.uniform(0.3, 0.6) * half, face.uniform(0.1, 0.5) * tall, face.uniform(0.05, 0.12) * width
    for side in (-1, 1):
        middle = (x + side * apart, y - high)
        pen.ellipse((middle[0] - eye, middle[1] - eye, middle[0] + eye, middle[1] + eye), fill=30)
    mouth, low = face.uniform(0.2, 0.6) * half, face.uniform(0.3, 0.7) * tall
    pen.rectangle((x - mouth, y + low, x + mouth, y + low + face.uniform(1, 4)), fill=60)
    return picture


def draw_people(folder: Path, people: int = 8, portraits: int = 6, size: tuple[int, int] = (46, 56)) -> Path:
    """A folder with one subfolder of portraits per person."""
    for person in range(people):
        place = folder / f"person{person}"
        place.mkdir(parents=True)
        for number in range(portraits):
            draw_portrait(person, number, size).save(place / f"{number}.png")
    return folder
