"""Everything that grows by one file, and where such files are found: in the project, or in folders of yours.

    IQAFLOW_PLUGINS=/team/iqa        with /team/iqa/tasks/count.py, /team/iqa/metrics/median.py, ... (several: `/a:/b`)

A module is of a kind if it defines what the kind asks for (a function, a class, a constant, or a function with that decorator);
others beside it are its helpers. Whether it does is read from its text, so that listing imports nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from iqaflow.core.errors import ConfigError, StageError

VARIABLE = "IQAFLOW_PLUGINS"
NAME = "plugins"  # of their digest among the inputs of a data set and in its manifest
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Kind:
    """One kind of file. `name` is its subfolder in a plugin folder, `package` its room here, `defines` what makes a module one of
    it: a name, or `@name` for a function that is so decorated. `says` completes the sentence `a module here is ...`.
    """

    name: str
    package: str
    defines: str
    says: str

    def names(self) -> tuple[str, ...]:
        """Its modules, sorted; none is imported."""
        return tuple(_files(self, os.environ.get(VARIABLE, "")))

    def module(self, name: str, parameter: str = "") -> ModuleType:
        """Import one. Raises ConfigError that lists what there is; `parameter` is the one that named it."""
        if name not in self.names():
            raise ConfigError(f"{parameter or self.name}: {name!r} is unknown; choose one of {', '.join(self.names())}.")
        places = importlib.import_module(self.package).__path__
        for folder in folders():
            if (place := str(folder / self.name)) not in places:
                places.append(place)
        return importlib.import_module(f"{self.package}.{name}")

    def modules(self) -> dict[str, ModuleType]:
        """All of them, imported, by name."""
        return {name: self.module(name) for name in self.names()}

    def entries(self) -> list[tuple[str, str]]:
        """(name, sentence) of everything these files define: by its decorator where there is one, else the file's first line."""
        entries: list[tuple[str, str]] = []
        for name, path in _files(self, os.environ.get(VARIABLE, "")).items():
            tree = ast.parse(path.read_bytes())
            about = (ast.get_docstring(tree) or "").partition("\n")[0]
            texts = [_texts(call) for call in _decorators(tree, self.defines)]
            entries += [(".".join(words[:-1]), words[-1]) for words in texts] or [(name, about)]
        return entries


KINDS = {
    kind.name: kind
    for kind in (
        Kind("distortions", "iqaflow.distortions.synthetic", "PHRASE", "a category of distortions"),
        Kind("tasks", "iqaflow.tasks", "TASK", "a task: questions, answers, and what they earn"),
        Kind("regions", "iqaflow.regions", "of_view", "a way to find the regions of a photograph"),
        Kind("layouts", "iqaflow.regions.layouts", "owns", "a layout of given masks on disk"),
        Kind("sources", "iqaflow.sources", "bring", "a place photographs come from"),
        Kind("formats", "iqaflow.annotate.imports", "read", "a format of labels that people already have"),
        Kind("teachers", "iqaflow.annotate.teachers", "Backend", "a model that writes texts"),
        Kind("suites", "iqaflow.validate.suites", "rules", "rules that the data must keep"),
        Kind("families", "iqaflow.model.families", "FAMILY", "an architecture of bases"),
        Kind("segmenters", "iqaflow.grounding.segmenters", "segment", "a segmenter that turns a map into a mask"),
        Kind("metrics", "iqaflow.benchmark.metrics", "@metric", "metrics of the benchmark"),
        Kind("baselines", "iqaflow.benchmark.baselines", "@baseline", "predictors a model must beat"),
    )
}


def folders() -> list[Path]:
    """The plugin folders. Raises ConfigError if one is missing or holds a folder that is no kind."""
    places = [Path(text).expanduser().resolve() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    for folder in places:
        if not folder.is_dir():
            raise ConfigError(f"{VARIABLE} names {folder}, which is no folder.")
        for inside in sorted(folder.iterdir()):
            if inside.is_dir() and inside.name not in KINDS and not inside.name.startswith((".", "_")):
                raise ConfigError(f"{VARIABLE}: {inside} is no kind of plugin; name it one of {', '.join(KINDS)}.")
    return places


def digest() -> str | None:
    """SHA-256 of all code in plugin folders, by kind and name; None without any. It is of what the stages depend on."""
    files = sorted(
        (path.relative_to(folder).as_posix(), path.read_bytes()) for folder in folders() for path in folder.rglob("*.py")
    )
    return hashlib.sha256(repr(files).encode()).hexdigest() if files else None


def check(recorded: str | None, what: str) -> None:
    """Raises StageError unless the plugins of this process are those that `what` was made with: `recorded` is their digest."""
    if recorded != digest():
        raise StageError(
            f"{what} was made with other plugins than {VARIABLE} names here: set it as it was (on every host), or "
            "run `iqaflow annotate` again."
        )


@cache
def _files(kind: Kind, variable: str) -> dict[str, Path]:
    """The modules of a kind by name. `variable` is the value of the environment variable: another one lists anew."""
    modules: dict[str, Path] = {}
    own = ROOT.joinpath(*kind.package.split(".")[1:])
    for folder in (own, *(folder / kind.name for folder in folders())):
        for path in sorted(folder.glob("*.py")):
            if not _defined(path, kind.defines):
                continue
            if path.stem in modules:
                raise ConfigError(f"{kind.name}: {path.stem!r} is defined twice: in {modules[path.stem]} and {path}.")
            modules[path.stem] = path
    return dict(sorted(modules.items()))


def _defined(path: Path, name: str) -> bool:
    """Whether a module defines a name, or has a function with the decorator `@name`."""
    if path.stem.startswith("_"):
        return False
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise ConfigError(f"{path} is not valid Python: {error.msg}, line {error.lineno}.") from None
    if name.startswith("@"):
        return bool(_decorators(tree, name))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return True
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if name in {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}:
            return True
    return False


def _decorators(tree: ast.Module, name: str) -> list[ast.Call]:
    """The calls of the decorator `@name` on functions of a module."""
    return [
        call
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for call in node.decorator_list
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and f"@{call.func.id}" == name
    ]


def _texts(call: ast.Call) -> list[str]:
    """The texts among the arguments of a call."""
    return [argument.value for argument in call.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
