"""Origin: how a model was created. `model.origin` of every model from `zoo.load` or `zoo.create_model`."""

import base64
import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Part:
    """The source of the weights of a model's part; a value of `model.origin.parts`."""

    preset: str  # name of the preset
    sha256: str | None  # of its weights file; None if the part had other weights when the model was built
    digest: str | None  # of the part's weights as loaded; fitting changes it
    terms: dict  # the terms of the preset

    def text(self, name: str) -> str:
        """The terms of the part `name` as one line."""
        terms = ", ".join(f"{key} {self.terms.get(key, 'not stated')}" for key in ("weights", "data"))
        return f"{self.preset}, its {name}: {terms}"


@dataclasses.dataclass(repr=False)
class Origin:
    """How a model was created, stored as `model.origin`.

    Keras stores it in .keras files and copies it with copy.deepcopy. keras.models.clone_model drops it.
    """

    model: str
    overrides: dict  # literals; a part is {"model": name, "overrides": {...}}
    task: str
    settings: dict = dataclasses.field(default_factory=dict)
    labels: list[str] | None = None
    data_labels: list[str] | None = None  # names of the classes in the training data, in the order of `labels`
    assets: dict[str, bytes] = dataclasses.field(default_factory=dict)
    data: dict | None = None  # name, version and split of the last data set that was opened for this model
    preset: str | None = None  # the name of the preset that the model was loaded from
    terms: dict = dataclasses.field(default_factory=dict)  # the terms of that preset
    parent: Any = None  # that preset, a zoo.preset.Preset, if all weights of this model come from it
    digest: str | None = None  # hash of the weights as loaded, to detect later training
    parts: dict[str, Part] = dataclasses.field(default_factory=dict)  # the parts whose weights are from a preset
    output: str | None = None  # name of the model's only output, if the model returns a tensor; None: it returns a dict
    taps: list[str] | None = None  # the layers whose outputs the model returns, in place of its own outputs

    def __repr__(self):
        return f"<Origin {self.preset or self.model}, {self.task}>"  # assets and labels would fill a screen

    def get_config(self) -> dict:
        """The origin as JSON values, without `parent`, which is a folder of this machine."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "parent"}
        values["assets"] = {name: base64.b64encode(content).decode() for name, content in self.assets.items()}
        values["parts"] = {name: dataclasses.asdict(part) for name, part in self.parts.items()}
        return json.loads(json.dumps(values))

    @classmethod
    def from_config(cls, config: dict) -> "Origin":
        """The origin of `get_config`; unknown values, of later versions, are ignored."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {key: value for key, value in config.items() if key in known}
        values["assets"] = {name: base64.b64decode(content) for name, content in config.get("assets", {}).items()}
        values["parts"] = {name: Part(**part) for name, part in config.get("parts", {}).items()}
        return cls(**values)
