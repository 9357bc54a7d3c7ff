"""Short sentences to learn a vocabulary from."""

SENTENCES = [
    f"{who} {does} {what}."
    for who in ("A man", "Two women", "Ein Mädchen", "L'enfant", "The dog")
    for does in ("sees", "eats", "reads", "hält", "regarde")
    for what in ("a red ball", "the book", "den Apfel", "une pomme", "nothing")
]
