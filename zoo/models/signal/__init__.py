"""Models of signals, sequences and volumes."""
