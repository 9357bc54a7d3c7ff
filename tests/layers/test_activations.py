"""Recording the activations of a model."""

import keras
import numpy as np

from tests.helpers.models import make
from zoo.layers import activations
from zoo.layers.keras_private import inbound_nodes
from zoo.layers.model import named


def test_recording_changes_neither_the_outputs_nor_the_model():
    model = named(make("resnet_cifar20"))
    inputs = {"image": np.random.default_rng(0).random((2, 12, 12, 3), "float32")}
    outputs, recorded = activations.record(model, {"image": keras.ops.convert_to_tensor(inputs["image"])})
    np.testing.assert_allclose(outputs["logits"], model(inputs)["logits"], rtol=1e-6)
    by_name = {activation.name: activation for activation in recorded}
    assert by_name["group1_block1_add"].stride == (1, 1)
    assert by_name["group2_block1_shortcut"].stride == by_name["group2_block1_add"].stride == (2, 2)
    assert by_name["group3_block1_relu2"].stride == (4, 4)
    assert len(inbound_nodes(model.get_layer("head"))) == 1
