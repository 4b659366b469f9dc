"""A line for each image: its name, a tab, and what people say of it."""

from iqaflow.annotate.imports import Item


def read(path, problems):
    for line in path.read_text().splitlines():
        name, _, description = line.partition("\t")
        yield Item((("image", name),), description=description)
