"""Training by recipes: `zoo.train`, `zoo.tune`, and the loop behind them. Recipes are read without TensorFlow."""


def __getattr__(name: str):
    if name == "train":
        from zoo.training.run import train

        return train
    if name == "tune":
        from zoo.training.tuning import tune

        return tune
    raise AttributeError(f"module 'zoo.training' has no attribute {name!r}")
