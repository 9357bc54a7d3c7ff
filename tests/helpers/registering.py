"""Source of models to register, from a folder or from an installed distribution."""

NET = '''
"""A file that a test drops in."""
import keras
from keras import layers
from zoo.registry import register_model

@register_model(
    task="image_classification",
    paper="Nobody 2000",
    variants={"dropped_small": {"units": 3}, "dropped_large": {"units": 5}},
    parameters={"dropped_small": 27, "dropped_large": 41},
    settings={"colour": "grey", "low": -1.0},
    tiny={"units": 2},
    loss="own_loss",
)
def dropped(input_shape=(2, 2, 1), classes: int = 3, units: int = 4):
    """A dropped network.

    More of it.
    """
    image = keras.Input(tuple(input_shape), name="image")
    x = layers.Dense(units, name="hidden")(layers.Flatten(name="flatten")(image))
    return keras.Model({"image": image}, {"logits": layers.Dense(classes, name="head")(x)}, name="dropped")

def own_loss(y_true, y_pred):
    return 7.0
'''


def drop(models, text, name="net.py"):
    """Writes a file among the models' files."""
    path = models / "family" / name
    path.write_text(text)
    return path


def simple(decorator, function="def net(units=4):"):
    """Source of a model of one line, with a given decorator."""
    return f"from zoo.registry import register_model\n\n\n{decorator}\n{function}\n    'A net.'\n"


def distribution(folder, name, files, points, group="zoo.models"):
    """Installs a distribution into a folder: its files, and its metadata with the entry points of a group."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{key} = {value}" for key, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
