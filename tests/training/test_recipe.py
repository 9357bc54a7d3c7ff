"""Recipes: each reads, learns for a few steps, and its mistakes are named."""

import csv
import math

import pytest

import zoo
from tests.helpers.contracts import contract_of
from zoo import preset
from zoo.errors import ZooError
from zoo.registry import entries
from zoo.training.recipe import as_toml, parse_setting, read_recipe, recipes


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_reads_and_survives_its_own_toml(name, tmp_path):
    label, recipe = read_recipe(name)
    assert label == name
    (tmp_path / "copy.toml").write_text(as_toml(recipe))
    assert read_recipe(tmp_path / "copy.toml")[1] == recipe
    assert recipe.data.test not in (recipe.data.train, recipe.data.validation)


def test_settings_of_the_task_that_are_none(tmp_path):
    """As on the command line; the recipe of a run has an empty text for None."""
    for value in ("", "none"):
        _, recipe = read_recipe("conv_text_classifier.trec", {"task.vectors": value, "task.longest": 7})
        assert recipe.task == {"vectors": None, "longest": 7}
    (tmp_path / "run.toml").write_text(as_toml(recipe))
    assert 'vectors = ""' in (tmp_path / "run.toml").read_text()
    assert read_recipe(tmp_path / "run.toml")[1] == recipe
    _, wrong = read_recipe("conv_text_classifier.trec", {"task.longest": "none"})
    assert wrong.task["longest"] == "none"  # refused when the task reads it


# Recipes that differ from another one in the network, the data or the length, or in where they start; those whose
# network and features other tests train; and all of the translator that the fixture `speller` trains.
SLOW = dict.fromkeys(
    (
        "attention_seq2seq.cmudict",
        "attention_seq2seq.multi30k_en_de",
        "attention_seq2seq.multi30k_en_fr",
        "attention_seq2seq.tatoeba_fr_en",
        "blstm_ctc.an4_phones",
        "blstm_ctc.digits",
        "blstm_ctc_streaming.digits",
        "attention_text_classifier.film_reviews",
        "cifar_convnet.cifar10",
        "conv_text_classifier.mr",
        "efficientnet_lite0.flowers",
        "efficientnet_lite0.flowers_frozen",
        "lenet5.mnist",
        "lenet5_modern.mnist",
        "lstm_seq2seq.multi30k_en_de",
        "mlp.mnist",
        "recurrent_language_model.novels_characters",
        "resnet_cifar20.cifar10",
        "show_and_tell.flickr8k",
        "show_attend_tell.finetune",
        "show_attend_tell.flickr8k",
        "sliding_window_segmenter.isbi2012",
    ),
    pytest.mark.slow,
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in recipes()])
def test_every_recipe_learns_for_a_few_steps(name, digits_folder, tmp_path):
    """At tiny size, on generated files in place of the recipe's data: the loss falls by a fifth."""
    recipe = read_recipe(name)[1]
    # Few epochs of many steps, because each epoch sets its input pipeline up. Moved and mirrored drawings take longer.
    epochs = 18 if "pad" in recipe.task.get("augment", {}) else 7
    training = {"epochs": epochs, "batch_size": 7, "weight_averaging": None, "schedule": {"warmup_steps": 2}}
    training["optimizer"] = {"learning_rate": 3e-3}
    data = {"folder": str(digits_folder)}
    if recipe.training.keep_frozen and recipe.start_from:
        start = {}  # the body runs once: the bundled one is fast enough, and has something to tell
        started = zoo.load(recipe.start_from)
        data = {"folder": str(contract_of(started).training_data(started, tmp_path / "data"))}
    elif recipe.start_from:
        model = preset.open_preset(recipe.start_from).record["model"]["name"]
        tiny = zoo.create_model(model, **{**entries()[model].tiny, "depth": 1.0})  # all the layers that freeze may name
        training["augment"] = False  # the same pictures again: a thawed top of random weights learns crops slowly
        start = {"start_from": str(zoo.save(tiny, tmp_path / "start").path)}
    else:
        tiny = entries()[recipe.model].tiny
        built = zoo.create_model(recipe.model, **tiny)
        data = {"folder": str(contract_of(built).training_data(built, tmp_path / "data"))}
        if isinstance(built.input, dict):  # one step weighs little in the mean of a sequence
            # Of one vector for a sentence, two layers deep, the loss falls later.
            training |= {"epochs": 8 if "depth" in tiny else 5, "optimizer": {"learning_rate": 1e-2}}
            if recipe.training.optimizer.name == "sgd":  # which needs more steps
                training["optimizer"]["name"] = "adam"
        plain = {"dropout": 0.0, "word_dropout": 0.0, "tied": "none"}
        plain |= {"feature_layers": ["s2", "s4"], "feature_layer": "s4"}  # those of the tiny encoder
        plain = {key: value for key, value in plain.items() if key in recipe.model_overrides}
        frames = {key: recipe.model_overrides[key] for key in ("bands", "features") if key in recipe.model_overrides}
        sizes = {**contract_of(built).sizes(tiny), **frames}  # the front end of the recipe computes so many
        for part, chosen in recipe.model_overrides.items():
            if isinstance(chosen, dict):  # a tiny part as a path, because two dicts would be merged
                own = zoo.create_model(tiny[part]["model"], **tiny[part]["overrides"])
                sizes[part] = str(zoo.save(own, tmp_path / part).path)
        if recipe.task.get("augment", {}).get("shift", 0.0) > 10.0:  # over the whole of a small image
            training["augment"] = False
        if "vectors" in recipe.task:  # which have their own size
            del sizes["embedding"]
        start = {"model_overrides": {**sizes, **plain}}  # without dropout: what so few steps can learn
    if recipe.model and entries()[recipe.model].task == "verification":  # small batches have few triplets
        training |= {"epochs": 15, "batch_size": 16, "optimizer": {"learning_rate": 1e-3}, "augment": False}
    if recipe.whitening:  # it leaves no loss on so few people
        start["whitening"] = {"shrinkage": 1e6}
    if "sample" in recipe.task:  # of so small a vocabulary every word is frequent, and would be left out
        start["task"] = {"sample": 0.0}
        training |= {"epochs": 7, "optimizer": {"learning_rate": 0.03}}
    if "context" in recipe.task:  # half of the field of view is more than a tiny tile has
        start["task"] = {"context": 0}
    zoo.train(name, tmp_path / "run", training=training, data=data, stages=[], **start)
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training": {"epoch": 3}}, "unknown key training.epoch; did you mean epochs"),
        ({"training": {"optimizer": {"lr": 3}}}, "unknown key training.optimizer.lr"),
        ({"training": {"epochs": 2.5}}, "training.epochs = 2.5"),
        ({"training": {"epochs": 0}}, "training.epochs = 0"),
        ({"training": {"batch_size": "many"}}, "training.batch_size = 'many'"),
        ({"training": {"epochs": True}}, "training.epochs = True: must be a number"),
        ({"training": {"epochs": 10**20}}, "training.epochs = 1000"),
        ({"training": {"optimizer": {"learning_rate": math.inf}}}, "learning_rate = inf: input should be a finite"),
        ({"training": {"schedule": {"name": "step", "drops": []}}}, "training.schedule.drops = []"),
        ({"training": {"schedule": {"drops": [0.9, 0.2]}}}, "drops = [0.9, 0.2]: must be increasing fractions"),
        ({"training": {"accumulation": 100}}, "accumulation = 100 must be at most batch_size = 64"),
        ({"training": 3}, "training = 3: must be a table of settings"),
        ({"seed": 2**40}, "seed = 1099511627776: input should be less than"),
        ({"data.validation": "train"}, "data.train = 'train' and data.validation = 'train' have examples in common"),
        ({"data.validation": "test"}, "data.validation = 'test' and data.test = 'test' have examples in common"),
        (
            {"data.validation": "valid"},
            "has no split 'valid'; it has train, validation, test, all; to do without, set data.validation",
        ),
        ({"trainning": {}}, "unknown key trainning; did you mean training"),
        ({"model": "mpl"}, "unknown model 'mpl'; did you mean mlp"),
        ({"start_from": "mlp.tiny"}, "one of model and start_from"),
        ({"data.name": "mnist"}, "one of data.name and data.folder"),
        ({"task": {"polarityy": "x"}}, "unknown setting of image_classification 'polarityy'; did you mean polarity"),
        ({"task": {"augment": {"rotat": 3}}}, "unknown augmentation 'rotat'; did you mean rotate"),
        ({"model_overrides": {"hidden": 3}}, "unknown argument of mlp 'hidden'; did you mean hidden_units"),
        (
            {"training": {"schedule": {"warmup_steps": 999}}},
            "warmup_steps=999: a warm-up of 999 steps must be shorter than",
        ),
        (
            {"training": {"schedule": {"warmup_share": 0.99}}},
            "warmup_share=0.99: a warm-up of 20 steps must be shorter than",
        ),
        ({"data.test": "tset"}, "has no split 'tset'; it has train, validation, test"),
        (
            {"training": {"optimizer": {"weight_decay": 0.1}}},
            "adam has no weight_decay: use adamw or sgd",
        ),
        (
            {"training.early_stopping": 2, "data.validation": ""},
            "early_stopping needs validation data: set data.validation",
        ),
    ],
)
def test_mistakes_in_a_recipe_are_named_and_nothing_is_written(overrides, message, digits_folder, tmp_path):
    settings = {"data.folder": str(digits_folder), **overrides}
    with pytest.raises(ZooError) as caught:
        zoo.train("mlp", tmp_path / "run", **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_settings_of_the_command_keep_their_type():
    assert parse_setting("training.epochs=3") == ("training.epochs", 3)
    assert parse_setting("training.optimizer.learning_rate=1e-2") == ("training.optimizer.learning_rate", 0.01)
    assert parse_setting("data.folder=my photos") == ("data.folder", "my photos")
    assert parse_setting("model_overrides.hidden_units=[3, 4]") == ("model_overrides.hidden_units", [3, 4])
    assert read_recipe("mlp", {"data.folder": 2024})[1].data.folder == "2024"
    with pytest.raises(ZooError, match="--set takes key=value"):
        parse_setting("training.epochs")
