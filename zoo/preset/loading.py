"""From a preset to a Keras model with its weights; runs on every Keras backend."""

from zoo import registry
from zoo.errors import ZooError
from zoo.preset import weights
from zoo.preset.preset import WEIGHTS, Preset


def load_model(preset: Preset, classes: int | None = None, freeze: str | None = None, settings: dict | None = None):
    """The preset's model with its weights, not compiled; works on every Keras backend.

    Args:
        preset: from open_preset.
        classes: another size of the last layer: the head then starts fresh.
        freeze: as in create_model.
        settings: task settings that differ from the preset's.
    """
    record = preset.record
    overrides = record["model"]["overrides"]
    try:
        model = registry.create_model(record["model"]["name"], **overrides)
    except (ZooError, TypeError) as error:
        raise ZooError(f"{preset.path / 'preset.json'} can't be used: {error}") from error
    weights.read(model, preset.file(WEIGHTS))
    settings = {**record["task"]["settings"], **(settings or {})}
    labels = settings.pop("labels", None)
    logits = model.output.get("logits")
    is_changed = classes is not None and (logits is None or classes != logits.shape[-1])
    if is_changed:
        trained = model
        model = registry.create_model(record["model"]["name"], **{**overrides, "classes": classes})
        _copy_all_but_head(trained, model, preset)
        labels = None
    registry.freeze_layers(model, freeze)
    origin = model.origin
    origin.task, origin.settings, origin.labels = record["task"]["name"], settings, labels
    origin.preset, origin.terms = preset.name, record.get("terms", {})
    origin.assets = {} if is_changed else preset.assets()  # they tell of the classes that are gone
    if not is_changed:
        origin.parent, origin.digest = preset, weights.digest(model)
    return model


def _copy_all_but_head(source, target, preset: Preset) -> None:
    for layer in target.layers:
        if not registry.is_head(layer.name):
            try:
                layer.set_weights(source.get_layer(layer.name).get_weights())
            except ValueError as error:
                raise ZooError(f"layer {layer.name} does not fit the weights of {preset.name}: {error}") from error
