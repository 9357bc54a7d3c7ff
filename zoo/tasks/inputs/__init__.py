"""Input kinds: the way from raw input to a model's tensors. One file per kind."""
