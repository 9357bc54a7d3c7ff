"""Opens a data set by name (TensorFlow Datasets) or by path (a layout of a user's own files)."""

import dataclasses
import os
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Protocol

from zoo.data.downloads import download as download_data
from zoo.data.source import Source
from zoo.errors import ZooError, checked_count, unknown, warn_once

# Terms of use of the data, as stated by the publisher.
TERMS = {
    "mnist": "CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
    "mnist_translated": "CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
    "cifar10": "none stated; cite Krizhevsky 2009",
    "tf_flowers": "CC BY 2.0 by photo",
    "multi30k": "research and education (cite Elliott et al. 2016)",
    "tatoeba_pairs": "CC BY 2.0 FR (tatoeba.org and manythings.org/anki)",
    "flickr8k": "research use; photos belong to their authors (cite Hodosh et al. 2013)",
    "cmudict": "unrestricted (Carnegie Mellon University)",
    "fsdd": "CC BY-SA 4.0 (Z. Jackson and others)",
    "fsdd_strings": "CC BY-SA 4.0 (Z. Jackson and others)",
    "an4": "BSD-style, free for any purpose (Carnegie Mellon University)",
    "an4_phones": "BSD-style, free for any purpose (Carnegie Mellon University)",
    "an4_frames": "BSD-style, free for any purpose (Carnegie Mellon University)",
    "novels": "published from 1839 to 1930 (Project Gutenberg)",
    "novels_factbook": "public domain (Project Gutenberg); CC0 1.0 (factbook)",
    "trec": "none stated; cite Li & Roth 2002",
    "sst2": "none stated; cite Socher et al. 2013",
    "sst5": "none stated; cite Socher et al. 2013",
    "mr": "CC BY 4.0 (B. Pang and L. Lee)",
    "subj": "CC BY 4.0 (B. Pang and L. Lee)",
    "cr": "none stated; cite Hu & Liu 2004",
    "mpqa": "none stated; cite Wiebe et al. 2005",
    "film_reviews": "CC BY 4.0 (B. Pang and L. Lee)",
    "babi": "CC BY 3.0 (Facebook Research)",
    "word_similarity": "Apache 2.0 (analogies); others none stated, cite the papers",
}
# For data sets that TFDS has in one shuffled split: slices for train, validation and test (the last fifth).
_SLICES = {"train": ":70%", "validation": "70%:80%", "test": "80%:"}
_ONE_PIECE = ("tf_flowers",)
_CLASSES = ("label", "answer", "phones")  # fields with the class of an example, or those of its frames


class Layout(Protocol):
    """A way to read a user's own files (see `zoo.data.layouts`)."""

    # A name of a data set with this ending, or one of these, is a path, even without a separator.
    file_suffix: str | tuple[str, ...] | None

    def open(self, path: Path, split: str) -> Source: ...


def open_source(
    name: str | os.PathLike,
    split: str,
    fields: Iterable[str | tuple[str, ...]],
    layout: Layout | None = None,
    data_dir: str | os.PathLike | None = None,
    limit: int | None = None,
    download: bool = True,
    skip_missing: bool = False,
) -> Source:
    """Opens one split of a data set.

    Args:
        name: a TFDS name ("mnist"), or the path of a folder or file. If a folder of the working directory has the name
            of a data set, the name is the data set, and the folder needs a separator: "./mnist".
        split: "train", "validation", "test", "all", or TFDS's slices ("train[:55000]").
        fields: the fields to read; a tuple stands for the first of its names that the data set has.
        layout: reads the data set of a path.
        data_dir: the folder of TFDS's data; by default ~/tensorflow_datasets.
        limit: number of examples to use, from the start; None for all.
        download: whether TFDS may download a data set that it does not have.
        skip_missing: for a folder with a table of its files: leave out files that do not exist, with a warning.

    Raises:
        ZooError: the data set, the split or a field is unknown, or the data can't be downloaded; or skip_missing for
            data that are not a folder with a table of files.
    """
    if not isinstance(name, (str, os.PathLike)) or not os.fspath(name):
        raise ZooError(f"{name!r} is not a data set: give a TFDS name, or the path of a folder or file")
    fields = tuple(fields)
    suffix = layout.file_suffix if layout else None
    is_path = (
        isinstance(name, os.PathLike)
        or bool(suffix)
        and name.endswith(suffix)
        or Path(name).exists()
        and (os.sep in name or not _is_registered(name))
    )
    if is_path and layout is None:
        raise ZooError(f"{name}: this task reads no files of your own; give a TFDS name")
    if skip_missing:
        if not is_path or not hasattr(layout, "skip_missing"):
            raise ZooError(f"skip_missing is for folders with a table of their files, which {name} is not")
        layout = dataclasses.replace(layout, skip_missing=True)
    source = layout.open(Path(name), split) if is_path else _tfds(os.fspath(name), split, data_dir, download)
    if is_path and source.name == os.path.basename(source.name) and _is_registered(source.name):
        source = dataclasses.replace(source, name=os.path.join(os.curdir, source.name))
    spec = source.dataset.element_spec
    names = []
    for field in fields:
        options = field if isinstance(field, tuple) else (field,)
        if not (known := [name for name in options if name in spec]):
            wanted = " or ".join(map(repr, options))
            raise ZooError(f"{source.name} has no field {wanted}; it has {', '.join(spec)}")
        names.append(known[0])
    keep = [*names, *({"file"} & set(spec))]  # the file's name, for error messages

    def load(stub, whole=source.load):
        example = whole(stub)
        return {field: example[field] for field in keep}

    source = dataclasses.replace(source, load=load)
    if limit is not None:
        checked_count(limit, "limit")
        source = dataclasses.replace(source, stubs=source.stubs.take(limit), examples=min(limit, source.examples))
    return source


def _register() -> None:
    """Registers the builders of this package and of other distributions with TFDS."""
    from zoo.data import captions, corpora, digits, novels, sentences, speech, stories, text_pairs  # noqa: F401

    for point in metadata.entry_points(group="zoo.data"):
        try:
            point.load()
        except Exception as error:  # a broken package must not stop the others
            where = point.dist.name if point.dist else point.name
            warn_once(f"data sets of {where} ({point.value}) are left out: {error}", stacklevel=4)


def _is_registered(name: str) -> bool:
    """Whether a name without a separator is a data set, with or without a version: "mnist", "mnist:3.0.1"."""
    import tensorflow_datasets as tfds

    _register()
    return name.partition(":")[0] in tfds.list_builders(with_community_datasets=False)


def _tfds(name: str, split: str, data_dir: str | os.PathLike | None, download: bool) -> Source:
    import tensorflow_datasets as tfds

    _register()

    if os.sep in name and name.split("/")[0] not in tfds.list_builders():
        raise ZooError(f"there is no folder {name}, and TFDS has no such data set")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise ZooError(f"there is no folder {data_dir} to look for data sets in")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        if isinstance(error, tfds.core.DatasetNotFoundError):
            raise unknown("data set", name, {*tfds.list_builders(), *TERMS}) from None
        # an unknown version or configuration, or not a name
        raise ZooError(f"{name!r} is not a data set: {' '.join(str(error).split())[:150]}") from None
    if not builder.info.splits and not download:
        raise ZooError(f"{name} is not in {builder.data_path.parent.parent}")
    if not builder.info.splits:
        place = Path(builder.data_path).parent
        is_new = not place.exists()
        try:
            download_data(builder)
        except Exception as error:  # no network, no space, files to download by hand, and more
            if is_new:
                shutil.rmtree(place, ignore_errors=True)
            reason = " ".join(str(error).split())[:600]
            where = builder.data_path.parent.parent
            raise ZooError(f"{name} is not in {where} and can't be downloaded: {reason}") from error
    slices = _SLICES.get(split) if name in _ONE_PIECE else None
    tfds_split = f"train[{slices}]" if slices else split
    try:
        examples = builder.info.splits[tfds_split].num_examples
    except (KeyError, ValueError) as error:
        if "[" in split:
            reason = " ".join(str(error).split())[:200]
            raise ZooError(f"{name} has no split {split!r}: {reason}") from None
        raise unknown(f"split of {name}", split, builder.info.splits) from None
    if examples == 0:
        raise ZooError(f"{name} has no examples in {split}")
    images = {key: kind for key, kind in builder.info.features.items() if isinstance(kind, tfds.features.Image)}
    dataset = builder.as_dataset(
        split=tfds_split,
        shuffle_files=False,
        decoders={key: tfds.decode.SkipDecoding() for key in images},
        read_config=tfds.ReadConfig(try_autocache=False, add_tfds_id=False),
    )
    labels = None
    for field in {*_CLASSES} & {*builder.info.features}:
        kind = getattr(builder.info.features[field], "feature", builder.info.features[field])  # of a sequence
        if isinstance(kind, tfds.features.ClassLabel):
            labels = list(kind.names)
    terms = TERMS.get(builder.name, "see its homepage, " + str(builder.info.homepage))
    parts = builder.info.splits[tfds_split].file_instructions
    rows = [(part.filename, part.skip, part.examples_in_shard if part.take < 0 else part.skip + part.take)
            for part in parts]  # fmt: skip
    return Source(name, str(builder.version), split, examples, labels, dataset, dict, terms, rows, str(builder.version))
