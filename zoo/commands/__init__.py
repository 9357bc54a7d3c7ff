"""The commands of `zoo`: each parses, calls one function with plain arguments, and shows what came out."""
