"""Raw input to model inputs in TensorFlow operations, the same in training, prediction and serving."""
