"""The bias of maps as a layer of its own."""

import keras
from keras import layers


@keras.saving.register_keras_serializable("zoo")
class Bias(layers.Layer):
    """Adds a number per channel in float32: (..., C) -> (..., C) float32.

    The gradient of a bias is the sum over all places of the maps. In bfloat16, TensorFlow stops adding small numbers to
    a sum that is 256 times as large, so that on large maps half of the gradient of a convolution's own bias is lost.
    """

    def __init__(self, **options):
        super().__init__(**{**options, "dtype": "float32"})

    def build(self, shape):
        self.bias = self.add_weight((shape[-1],), "zeros", name="bias")

    def call(self, inputs):
        return inputs + self.bias

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return super().get_config()  # Keras takes the name and the dtype only from a layer that defines this
