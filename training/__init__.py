"""Training by recipes: `zoo.train`, and the loop behind it."""

from zoo.training.run import train

__all__ = ["train"]
