"""A teacher that has nothing to say: what it is asked stays as it is."""

from iqaflow.annotate.teachers import Completion


class Backend:
    name, identity, parallel = "silent", "silent/1", False

    def __init__(self, config, workspace):
        self.path = workspace.state / "asked.txt"

    def write(self, text, images, schema):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(f"{len(text)}\n")
        return Completion("nothing")
