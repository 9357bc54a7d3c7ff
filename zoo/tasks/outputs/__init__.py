"""Output kinds: from a model's outputs to answers, and the targets, loss and metrics of training. One file per kind."""
