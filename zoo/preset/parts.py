"""Parts: presets inside a preset, whose weights are not stored a second time."""

from collections.abc import Collection
from typing import Any

from zoo.errors import ZooError
from zoo.origin import Part
from zoo.preset.folders import open_preset
from zoo.preset.preset import WEIGHTS, Preset


def part_of(model: Any, name: str, source: Any) -> Part | None:
    """The provenance of a part that was just built into a model; None if its weights are not from a preset.

    Args:
        model: the keras.Model that contains the part.
        name: the name of the part.
        source: the keras.Model that the part was built from.
    """
    origin = source.origin
    if origin.preset is None:
        return None
    if origin.parent is None or _digest(source) != origin.digest:
        return Part(origin.preset, None, None, origin.terms)
    digest = _digest(model.get_layer(name))
    return Part(origin.preset, weights_hash(origin.parent), digest, origin.terms)


def _digest(model: Any) -> str:
    from zoo.preset import weights  # imports NumPy and h5py, which listings do without

    return weights.digest(model)


def weights_hash(preset: Preset) -> str | None:
    return preset.record["files"].get(WEIGHTS, {}).get("sha256")


def referenced(model: Any) -> dict[str, dict[str, str]]:
    """The record of the parts whose weights need not be stored, {name: {"preset", "sha256"}}.

    These parts have the weights that they were loaded with, and opening their preset by name leads to these weights.
    """
    return {
        name: {"preset": part.preset, "sha256": part.sha256}
        for name, part in model.origin.parts.items()
        if _is_unchanged(model, name) and _is_found(part)
    }


def copied_parts(model: Any, kept: Collection[str]) -> dict[str, str]:
    """The sources of the parts whose weights are stored with the model: all parts except `kept`."""
    others = {name: part for name, part in model.origin.parts.items() if name not in kept}
    return {
        name: part.preset if _is_unchanged(model, name) else f"{part.preset}, trained further"
        for name, part in others.items()
    }


def _is_unchanged(model: Any, name: str) -> bool:
    digest = model.origin.parts[name].digest
    return digest is not None and _digest(model.get_layer(name)) == digest


def _is_found(part: Part) -> bool:
    try:
        return weights_hash(open_preset(part.preset)) == part.sha256
    except ZooError:
        return False


def open_part(preset: Preset, name: str) -> Preset:
    """The preset of a part of `preset`.

    Raises:
        ZooError: the part's preset is missing, or has other weights than `preset` was saved with.
    """
    source = preset.record["parts"][name]
    needs = f"preset {preset.path} needs the preset {source['preset']} as its {name}"
    try:
        part = open_preset(source["preset"])
    except ZooError as error:
        raise ZooError(f"{needs}, which can't be opened ({error}): put it into a folder of ZOO_PRESETS") from error
    if weights_hash(part) != source["sha256"]:
        raise ZooError(
            f"{needs} with weights of sha256 {source['sha256'][:12]}..., but {part.path} has other weights: "
            f"put the {source['preset']} that it was saved with into a folder of ZOO_PRESETS"
        )
    return part
