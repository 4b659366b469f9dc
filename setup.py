"""Only what pyproject.toml cannot say: the wheel also carries what `iqaflow init` makes a workspace from, and the flows."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "flows",
    "models/base-tiny",
    "mlruns/.gitkeep",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)


class BuildPy(build_py):
    """Puts them into a folder beside the package: `iqaflow.core.workspace.shipped` finds it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the clone has them
        target = Path(self.build_lib) / "iqaflow_workspace"
        shutil.rmtree(target, ignore_errors=True)
        for name in SHIPPED:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if Path(name).is_dir() else shutil.copyfile
            copy(name, target / name)
        for caches in target.rglob("__pycache__"):
            shutil.rmtree(caches)


setup(cmdclass={"build_py": BuildPy})
