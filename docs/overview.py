"""Composes the picture at the top of the README from pictures of the gallery.

python docs/overview.py
"""

from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTH, GAP = 1200, 12
ROWS = (
    ("efficientnet_lite0.imagenet", "attention_seq2seq.tatoeba_fr_en"),
    ("show_attend_tell.flickr8k",),
    ("skipgram.novels", "blstm_ctc.an4"),
)


# The parts that are shown, in fractions of the picture: one photo of two; the middle of a map, to be legible.
PARTS = {
    "efficientnet_lite0.imagenet": (0, 0, 1, 0.5),
    "show_attend_tell.flickr8k": (0, 0.5, 1, 1),
    "skipgram.novels": (0.3, 0.3, 0.7, 0.7),
}


def picture(name: str) -> Image.Image:
    image = Image.open(HERE / "pages" / "gallery" / f"{name}.webp").convert("RGB")
    return image.crop(
        [round(part * side) for part, side in zip(PARTS.get(name, (0, 0, 1, 1)), image.size * 2, strict=True)]
    )


def row(names: tuple[str, ...]) -> Image.Image:
    """Pictures side by side, of the same height, as wide as the whole."""
    pictures = [picture(name) for name in names]
    height = (WIDTH - GAP * (len(names) - 1)) / sum(each.width / each.height for each in pictures)
    whole = Image.new("RGB", (WIDTH, round(height)), "white")
    place = 0
    for each in pictures:
        size = round(height * each.width / each.height), round(height)
        whole.paste(each.resize(size, Image.LANCZOS), (place, 0))
        place += size[0] + GAP
    return whole


def main() -> None:
    rows = [row(names) for names in ROWS]
    whole = Image.new("RGB", (WIDTH, sum(each.height for each in rows) + GAP * (len(rows) - 1)), "white")
    place = 0
    for each in rows:
        whole.paste(each, (0, place))
        place += each.height + GAP
    whole.save(HERE / "overview.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
