"""One rule more about images."""

from iqaflow.validate.rules import between


def rules(phash_distance):
    return {"images": [between("width", 64, 1000, "Every image is a small one.")]}
