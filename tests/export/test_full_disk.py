"""A disk that fills up during an export."""

import errno
import os

import pytest
import tensorflow as tf

import zoo
from zoo.errors import ZooError

FULL = os.strerror(errno.ENOSPC)


def test_an_export_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch, tiny_preset):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, f"variables.data; {FULL} [Op:SaveV2]")

    monkeypatch.setattr(tf.saved_model, "save", full)
    out = tmp_path / "a" / "exports"
    with pytest.raises(ZooError, match=f"can't write the export {out}.*: {FULL}"):
        zoo.export(tiny_preset, out)
    assert not list(tmp_path.iterdir())
    out.mkdir(parents=True)
    with pytest.raises(ZooError, match=FULL):
        zoo.export(tiny_preset, out)
    assert not list(out.iterdir())
