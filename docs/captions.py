"""Writes docs/CAPTIONS.md: the captions of the photos in docs/photos, and the attention over two of them.

python docs/captions.py
"""

from pathlib import Path

import zoo

PRESETS = ("show_attend_tell.flickr8k", "show_and_tell.flickr8k")
DOCS = Path(__file__).parent
SHOWN = ("moose.jpg", "astronaut.jpg")
HEAD = """# Captions of other photos

The captioners have learned from Flickr8k: photos of people and dogs, most of them outdoors. Below are their captions of
six photos of other origin (see [photos/README.md](photos/README.md)), best ones and failures alike, by a beam search of
width 5. `python docs/captions.py` writes this page.

| photo | `show_attend_tell.flickr8k` | `show_and_tell.flickr8k` |
|---|---|---|
"""


def main() -> None:
    photos = sorted((DOCS / "photos").glob("*.jpg"))
    columns = [[answer["caption"] for answer in zoo.pipeline(name)(photos)] for name in PRESETS]
    rows = [
        f"| <img src=\"photos/{photo.name}\" width=\"160\"> | {' | '.join(captions)} |"
        for photo, *captions in zip(photos, *columns, strict=True)
    ]
    zoo.explain(PRESETS[0], [DOCS / "photos" / name for name in SHOWN], DOCS / "attention_maps.png")
    foot = "\n\n`zoo explain` draws where `show_attend_tell` attends at each word:\n\n![](attention_maps.png)\n"
    (DOCS / "CAPTIONS.md").write_text(HEAD + "\n".join(rows) + foot, encoding="utf-8")


if __name__ == "__main__":
    main()
