"""From raw input to what a model takes, in TensorFlow operations: the same in training, prediction and serving."""
