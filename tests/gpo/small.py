"""A generator of a few thousand parameters."""

from arauto.gpo import Generator
from arauto.gpo.lm import tiny_generator


def small(table, seed=0):
    made = tiny_generator([*table.text, *table.context], seed=seed, vocabulary=400, width=32, layers=1)
    return Generator(
        made.model, made.tokenizer, made.kept, made.begin, made.turn, made.end, most_context=6, most_text=16
    )
