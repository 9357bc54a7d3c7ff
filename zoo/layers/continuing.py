"""Language models whose batches continue each other: the state before a batch is an input, that after it an output."""

from keras import ops

from zoo.layers.model import GeneratorModel


class ContinuingModel(GeneratorModel):
    """Base class of generators over one sequence, with the inputs `target` (B, T) and `state` (B, ...).

    Outputs: `logits` (B, T, V), for the token after each token of `target`, and `next_state`, for the tokens that
    follow. A state of zeros is that before a text. A batch may lack `state`, which is then zero, and have other
    entries, so that Keras's `fit` takes the same batches as a training loop that carries the state.
    """

    attends = False

    def __call__(self, inputs, *args, **kwargs):
        return super().__call__(self.whole(inputs), *args, **kwargs)

    def whole(self, inputs):
        """A batch with a state of zeros if it has none, and without other entries."""
        if not isinstance(inputs, dict) or "target" not in inputs or inputs.keys() == {"target", "state"}:
            return inputs
        target, state = ops.convert_to_tensor(inputs["target"]), inputs.get("state")
        if state is None:
            spec = self.input["state"]
            state = ops.zeros((ops.shape(target)[0], *spec.shape[1:]), spec.dtype)
        return {"target": target, "state": ops.convert_to_tensor(state)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, _logits(y_pred), sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, _logits(y_pred), sample_weight)

    def encode(self, inputs):
        return {"state": inputs["state"]}

    def initial_state(self, memory):
        return {"state": memory["state"]}


def _logits(outputs):
    return outputs["logits"] if isinstance(outputs, dict) else outputs
