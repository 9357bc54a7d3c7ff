"""Makes Keras find the layers, models, losses and functions of this package by their names in .keras files.

Keras looks these names up among the objects that were registered, that is, whose modules were imported. After
`import zoo`, these modules are imported as soon as Keras is, whichever is imported first; `import zoo` alone imports
none of them.
"""

import contextlib
import importlib
import importlib.util
import re
import sys
import warnings
from pathlib import Path

# zoo.quiet and zoo.registry are imported where they are used, because `import zoo` imports this module.

_MARK = re.compile(r"^@keras\.saving\.register_keras_serializable\(", re.MULTILINE)


def modules() -> list[str]:
    """The modules of this package that register objects with Keras, layers first."""
    root, found = Path(__file__).parent, []
    for folder in ("layers", "models", "tasks"):
        for path in sorted((root / folder).rglob("*.py")):
            if not path.name.startswith(".") and _MARK.search(path.read_text("utf-8")):
                found.append(".".join(("zoo", *path.relative_to(root).with_suffix("").parts)))
    return found


def register() -> None:
    """Imports these modules. Those of the tasks need TensorFlow, so they are left out on other backends."""
    import keras

    for module in modules():
        if not module.startswith("zoo.tasks.") or keras.config.backend() == "tensorflow":
            try:
                importlib.import_module(module)
            except Exception as error:  # a broken file must not stop the import of Keras
                warnings.warn(f"{module} can't be imported: {error}", stacklevel=2)
    from zoo.layers import model

    model.import_model = _import_model


def _import_model(name: str) -> None:
    """Imports the file of a registered model, so that Keras knows the layers that it defines."""
    with contextlib.suppress(Exception):  # Keras then reports the layer that it does not know
        from zoo.registry import entries

        entries()[name].function()


class _Finder:
    """Calls `register` after the first import of Keras, and imports TensorFlow quietly."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            return self._quiet(name)
        if name != "keras":
            return None
        from zoo.quiet import held_back

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                try:
                    with held_back():  # Keras imports TensorFlow
                        execute(module)
                except BaseException:
                    install()  # for the next attempt
                    raise
                register()

            spec.loader.exec_module = exec_module
        return spec

    def _quiet(self, name: str):
        """The spec of a module whose import prints no noise."""
        from zoo.quiet import held_back

        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                with held_back():
                    execute(module)

            spec.loader.exec_module = exec_module
        return spec


def install() -> None:
    """Registers the objects now if Keras is imported already, else as soon as it is."""
    if hasattr(sys.modules.get("keras"), "__version__"):  # the last name that the package defines
        register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
