"""The commands of `zoo`: each parses, calls one function with plain arguments, and prints the result."""
