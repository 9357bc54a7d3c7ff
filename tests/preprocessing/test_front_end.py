"""Settings of a front end from JSON values."""

import dataclasses
import json

import pytest

from zoo.errors import ZooError
from zoo.preprocessing.front_end import KALDI, FrontEndSettings, front_end_settings


def test_a_convention_gives_the_other_settings():
    assert front_end_settings({}) == dataclasses.replace(FrontEndSettings(), mean=(0.0,) * 40, deviation=(1.0,) * 40)
    settings = front_end_settings({"convention": "kaldi", "lowest": 64, "normalize": "fixed"}, [2.0] * 13, [3.0] * 13)
    expected = {**dataclasses.asdict(KALDI), "lowest": 64, "normalize": "fixed"}
    assert dataclasses.asdict(settings) == {**expected, "mean": (2.0,) * 13, "deviation": (3.0,) * 13}


def test_the_settings_of_a_front_end_make_it_again():
    chosen = front_end_settings({"convention": "librosa", "deltas": 2, "normalize": "running", "decibel_range": None})
    values = json.loads(json.dumps(dataclasses.asdict(chosen)))
    mean, deviation = values.pop("mean"), values.pop("deviation")
    assert front_end_settings(values, mean, deviation) == chosen


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"convention": "htk"}, "^convention must be one of librosa, kaldi, sphinx, got 'htk'$"),
        ({"filter": 40}, "^unknown setting of the front end 'filter'; did you mean filters or lifter"),
        ({"mean": [0.0]}, "^unknown setting of the front end 'mean'"),
        ({"filters": 40.0}, "^filters must be an integer, got 40.0$"),
        ({"filters": True}, "^filters must be an integer, got True$"),
        ({"highest": "4 kHz"}, "^highest must be a number, got '4 kHz'$"),
        ({"remove_dc": 1}, "^remove_dc must be true or false, got 1$"),
        ({"window": 2}, "^window must be a string, got 2$"),
        ({"normalize": 3}, "^normalize must be a string, got 3$"),
        ({"decibel_range": "80"}, "^decibel_range must be a number, got '80'$"),
        ({"rate": 8000}, "^lowest and highest must be edges from 0 to 4000 Hz, half the rate, got 20 and 8000$"),
    ],
    ids=str,
)
def test_bad_settings(values, message):
    with pytest.raises(ZooError, match=message):
        front_end_settings(values)
