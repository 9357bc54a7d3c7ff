"""Commands of one process that answer with the same pipeline."""

import contextlib
import os
from collections.abc import Iterator

import pytest

import zoo
from zoo import inference


@contextlib.contextmanager
def kept_pipelines(*presets: os.PathLike) -> Iterator[None]:
    """Inside the block, a command that answers takes the pipeline that an earlier one made with equal settings.

    A command sets its pipeline up, which takes seconds for a search, and a process runs one command. The presets must
    not change inside the block; pipelines of others are made anew.
    """
    # zoo.pipeline is looked up before the change, because it keeps what inference.pipeline is at its first use.
    names, whole, kept = {str(preset) for preset in presets}, zoo.pipeline, {}

    def pipeline(name, batch_size: int = 32, **settings):
        if str(name) not in names:
            return whole(name, batch_size, **settings)
        key = (str(name), batch_size, repr(sorted(settings.items())))
        if key not in kept:
            kept[key] = whole(name, batch_size, **settings)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "pipeline", pipeline)
        yield
