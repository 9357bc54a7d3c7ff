"""Runs of several stages."""

import shutil

import numpy as np
import pytest

import zoo
from tests.helpers.presets import error_of
from tests.helpers.runs import weights
from zoo import preset
from zoo.errors import ZooError
from zoo.training.recipe import as_toml, parse_setting, read_recipe

FIRST = {"epochs": 2, "batch_size": 12, "schedule": {"name": "constant"}}
STAGES = [
    {"freeze": "all but head", "training": {"epochs": 1, "optimizer": {"learning_rate": 0.01}}},
    {"training": {"epochs": 3, "batch_size": 21}},
]


@pytest.fixture(scope="module")
def run(digits_folder):
    """A function that trains all stages into a folder."""

    def run(out, **changes):
        return zoo.train(
            "mlp", out, data={"folder": str(digits_folder)}, model_overrides={"hidden_units": [16]},
            **{"training": FIRST, "stages": STAGES, **changes},
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def staged(run, tmp_path_factory):
    """The folder of a run of three stages, its preset, and the stages that it reported."""
    folder, rows = tmp_path_factory.mktemp("staged"), []
    result = run(folder / "run", report=lambda step, total, row: rows.append(row))
    return folder, result, [row for row in rows if "stages" in row]


def test_stages_are_runs_that_start_from_each_other(staged, run, digits_folder, tmp_path):
    folder, _, reported = staged
    assert reported == [{"stage": number, "stages": 3} for number in (1, 2, 3)]
    run(tmp_path / "first", stages=[])
    for name, before, stage in zip(("second", "third"), ("first", "second"), STAGES, strict=True):
        start = {"start_from": str(tmp_path / before), "freeze": stage.get("freeze")}
        training = {**FIRST, **stage["training"]}
        recipe = tmp_path / f"{name}.toml"
        head = "".join(f'{key} = "{value}"\n' for key, value in start.items() if value)
        recipe.write_text(f'{head}data.folder = "{digits_folder}"\ntraining.epochs = 1\ntraining.batch_size = 1\n')
        zoo.train(recipe, tmp_path / name, training=training)
    for made, alone in (("run/stage1", "first"), ("run/stage2", "second"), ("run", "third")):
        for got, expected in zip(weights(folder / made), weights(tmp_path / alone), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_the_preset_states_all_stages(staged):
    provenance = staged[1].record["provenance"]
    assert provenance["epochs"] == "; then ".join(
        ["2 of 2, kept that of epoch 2", "1 of 1, kept that of epoch 1", "3 of 3, kept that of epoch 3"]
    )
    assert provenance["steps"] == 2 * 4 + 4 + 3 * 2  # 42 training images
    assert provenance["started_from"] == "nothing"
    assert staged[1].record["terms"] == preset.open_preset(staged[0] / "run" / "stage1").record["terms"]


def test_a_stage_on_other_data(run, digits_folder, tmp_path):
    others = tmp_path / "others"
    for label in ("0", "1", "7"):
        shutil.copytree(digits_folder / label, others / label)
        next((others / label).iterdir()).unlink()
    stages = [{"data": {"folder": str(others)}, "training": {"epochs": 1}}]
    result = run(tmp_path / "run", stages=stages)
    first = preset.open_preset(tmp_path / "run" / "stage1").record
    assert first["data"]["name"] == str(digits_folder)
    assert result.record["data"]["name"] == str(others)
    assert result.record["provenance"]["examples"] < first["provenance"]["examples"]


@pytest.mark.slow
def test_a_run_that_was_cut_in_each_stage_goes_on_to_the_bit(staged, run, tmp_path):
    out = tmp_path / "run"
    for steps, stage in ((3, "stage1"), (8, "stage1"), (10, "stage2"), (14, ".")):
        assert run(out, steps=steps).record["provenance"]["steps"] == steps
        assert preset.open_preset(out / stage).record["provenance"]["steps"] == steps
        assert (out / "stage2").exists() == (steps > 8)
    assert run(out, steps=3).record["provenance"]["steps"] == 8  # of the first stage, which has done more already
    run(out)
    for got, expected in zip(weights(out), weights(staged[0] / "run"), strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.warns(match="finished already"):
        run(out)


def test_a_recipe_with_stages_survives_its_own_toml(digits_folder, tmp_path):
    changes = {"data.folder": str(digits_folder), "stages": STAGES}
    _, recipe = read_recipe("mlp", changes)
    (tmp_path / "copy.toml").write_text(as_toml(recipe))
    assert read_recipe(tmp_path / "copy.toml")[1] == recipe
    assert [stage.training["epochs"] for stage in recipe.stages] == [1, 3]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"training": {"epoch": 3}}], "stage 2: unknown key training.epoch; did you mean epochs"),
        ([*STAGES, {"training": {"epochs": 0}}], "stage 4: training.epochs = 0"),
        ([{}], "stage 2 must have freeze, model_overrides, data or training"),
        ([{"training": {}, "foo": 1}], "stage 2: unknown key foo; known: freeze, model_overrides, data, training"),
        ([{"freeze": "all but head"}, {"training": 3}], "stage 3: training = 3: must be a table of settings"),
        ([{"freeze": True}], "stage 2: freeze = True: must be a string"),
        ("two", "stages must be tables, got 'two': begin each later stage with a line [[stages]]"),
        (["two"], "stages must be tables, got 'two': begin each later stage with a line [[stages]]"),
        ({"freeze": "all"}, "stages must be tables, got {'freeze': 'all'}: begin"),
    ],
)
def test_a_wrong_stage_is_named(stages, message, digits_folder):
    with pytest.raises(ZooError) as error:
        read_recipe("mlp", {"data.folder": str(digits_folder), "stages": stages})
    assert message in str(error.value)


def test_single_keys_of_a_stage_are_changed_by_its_number(digits_folder, tmp_path):
    (tmp_path / "staged.toml").write_text(as_toml(read_recipe("mlp", {"data.folder": "x", "stages": STAGES})[1]))

    def stages(text):
        return read_recipe(tmp_path / "staged.toml", dict([parse_setting(text)]))[1].stages

    for text, number, key, value in (("stages.2.training.epochs=7", 0, "epochs", 7),
                                     ("stages.3.training.batch_size=5", 1, "batch_size", 5)):  # fmt: skip
        changed = stages(text)
        assert changed[number].training == {**STAGES[number]["training"], key: value}
        assert changed[1 - number].training == STAGES[1 - number]["training"]
    assert stages("stages.3.freeze=all but head")[1].freeze == "all but head"
    assert "stage 1 has the keys of the recipe itself" in error_of(stages, "stages.1.training.epochs=7")
    assert "stages.4: the recipe has 3 stages, counted from 1" in error_of(stages, "stages.4.training.epochs=7")
    assert "stage 2: unknown key training.epoch" in error_of(stages, "stages.2.training.epoch=7")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([STAGES[0], {"freeze": "hidden"}], "stage 3: freeze must be one of 'all', "),
        ([{"freeze": "up to hidden9"}], "stage 2: unknown layer of mlp 'hidden9'"),
        ([{"freeze": "all"}], "stage 2: recipe mlp.mine: freeze = 'all' leaves no weights to train"),
        ([{"training": {"self_critical": "bleu"}}], "stage 2: image_classification has no rewards"),
        ([{"training": {"keep_frozen": True}}], "stage 2: keep_frozen needs the rest of the model frozen"),
    ],
)
def test_mistakes_of_later_stages_are_reported_before_the_first_step(run, tmp_path, stages, message):
    assert error_of(run, tmp_path / "run", stages=stages).startswith(message)
    assert not [file for file in (tmp_path / "run").rglob("*") if file.is_file()]


def test_a_share_of_new_weights_is_refused(digits_folder):
    changes = {"data.folder": str(digits_folder), "training.start_share": 0.5}
    assert "training.start_share needs start_from" in error_of(read_recipe, "mlp", changes)
    later = {"data.folder": str(digits_folder), "stages": [{"training": {"start_share": 0.5}}]}
    assert read_recipe("mlp", later)[1].stages[0].training == {"start_share": 0.5}


def test_a_share_of_the_first_weights(run, digits_folder, tmp_path):
    start = run(tmp_path / "start", stages=[])
    recipe = tmp_path / "on.toml"
    recipe.write_text(
        f'start_from = "{start.path}"\ndata.folder = "{digits_folder}"\n[training]\nepochs = 1\nbatch_size = 9\n'
    )
    reached = zoo.train(recipe, tmp_path / "reached")
    mixed = zoo.train(recipe, tmp_path / "mixed", training={"start_share": 0.25})
    for first, last, mean in zip(*map(weights, (start.path, reached.path, mixed.path)), strict=True):
        np.testing.assert_allclose(mean, 0.25 * first + 0.75 * last, rtol=1e-6, atol=1e-7)
        assert np.abs(last - first).max() > 1e-3
    figures = [{row["name"]: row["value"] for row in made.record["metrics"]} for made in (reached, mixed)]
    expected = zoo.evaluate(mixed.path, str(digits_folder), "validation")["metrics"]["accuracy"]
    assert figures[1]["accuracy"] == pytest.approx(expected)
    assert figures[1]["loss"] != figures[0]["loss"]


def test_stages_need_one_machine(run, tmp_path):
    assert "which need one machine" in error_of(run, tmp_path / "run", cluster="ray")
    assert not (tmp_path / "run").exists()


def test_a_search_refuses_stages(digits_folder, tmp_path):
    settings = {"data.folder": str(digits_folder), "stages": STAGES}
    message = error_of(zoo.tune, "mlp", {"training.batch_size": {"values": [4, 8]}}, tmp_path / "out", **settings)
    assert "set stages = []" in message
