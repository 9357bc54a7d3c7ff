"""Training by recipes: `zoo.train`, and the loop behind it. Recipes are read without TensorFlow."""


def __getattr__(name: str):
    if name == "train":
        from zoo.training.run import train

        return train
    raise AttributeError(f"module 'zoo.training' has no attribute {name!r}")
