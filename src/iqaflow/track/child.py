"""What a stage says about itself to MLflow: numbers, pictures, tables, files. A lost store never makes it raise."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.core.security.redaction import redact
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.track import media, provenance, records, spool

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class StageRun:
    """What one stage says about itself. Nothing here raises because MLflow is away."""

    def __init__(self, stage: str, recorder: spool.Recorder, floor: dict[str, int]) -> None:
        self.stage, self._recorder, self._floor = stage, recorder, floor

    @property
    def run_id(self) -> str:
        """The MLflow run; an id that starts with `local-` while the store is away."""
        return self._recorder.run

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers at a training step, or for the whole stage. A step that was told before, by this or an earlier try,
        is left out: steps only go up.
        """
        now = records.milliseconds()
        rows: list[records.MetricRow] = []
        for name, value in metrics.items():
            name = records.key(name)
            if value is None or (step is not None and step <= self._floor.get(name, -1)):
                continue
            rows.append((name, float(value), now, step or 0))
            if step is not None:
                self._floor[name] = step
        if rows:
            self._recorder.put({"op": "metrics", "rows": rows})

    def image(self, image: Path | str | np.ndarray, key: str, step: int = 0) -> None:
        """A picture that MLflow shows by step: a file, or an array as in `media.png`."""

        def say(file: Path) -> None:
            file.write_bytes(media.png(image))
            self._recorder.put(
                {
                    "op": "image",
                    "file": str(file),
                    "owned": True,
                    "key": records.key(key),
                    "step": step,
                    "time": records.milliseconds(),
                }
            )

        self._keep("image.png", say)

    def table(self, frame: pd.DataFrame, name: str) -> None:
        """A table that MLflow shows beside those of other runs; one of the same name is replaced."""

        def say(file: Path) -> None:
            media.write_table(frame.map(lambda value: redact(value) if isinstance(value, str) else value), file)
            self._recorder.put({"op": "table", "file": str(file), "owned": True})

        self._keep(f"{name.removesuffix('.json')}.json", say)

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """A file or folder as it is now; where a text in it holds secrets, a copy without them."""
        shown = media.without_secrets(Path(path))
        if not shown:
            self._recorder.put({"op": "artifact", "file": str(path), "folder": folder}, now=True)
            return

        def say(copy: Path) -> None:
            (shutil.copytree if Path(path).is_dir() else shutil.copy2)(path, copy)
            for name, text in shown.items():
                (copy / name).write_text(text, encoding="utf-8")
            self._recorder.put({"op": "artifact", "file": str(copy), "owned": True, "folder": folder}, now=True)

        self._keep(Path(path).name, say)

    def text(self, text: str, name: str, folder: str = "") -> None:
        """A text as an artifact."""

        def say(file: Path) -> None:
            file.write_text(redact(text), encoding="utf-8")
            self._recorder.put({"op": "artifact", "file": str(file), "owned": True, "folder": folder})

        self._keep(name, say)

    def params(self, values: Mapping[str, object]) -> None:
        self._recorder.put({"op": "params", "values": {name: str(value) for name, value in values.items()}})

    def tags(self, values: Mapping[str, str]) -> None:
        self._recorder.put({"op": "tags", "values": dict(values)})

    def data(self, workspace: Workspace, context: str) -> None:
        """Note data/annotated, by its DVC hash, as an input."""
        digest = provenance.data_digest(workspace)
        if digest:
            place = workspace.relative(workspace.annotated)
            self._recorder.put({"op": "input", "name": place, "digest": digest, "source": place, "context": context})
            self.tags({"data.digest": digest})

    def finish(self, result: StageResult, workspace: Workspace | None = None) -> None:
        """Everything a stage hands back: numbers, report, pictures, files."""
        root = (workspace or self._recorder.workspace).root
        self.log({name: value for name, value in result.metrics.items() if isinstance(value, (int, float))})
        if result.markdown:
            self.text(result.markdown, f"{self.stage}.md")
        for folder, paths in (("pictures", result.images), ("files", result.artifacts)):
            for path in paths:
                self.artifact(root / path, folder)
        self.flush()

    def flush(self, last: bool = False) -> None:
        """Bring what was said to the store, or to the spool; `last` tries the store even after a recent failure."""
        self._recorder.flush(last)

    def _keep(self, name: str, say: Callable[[Path], None]) -> None:
        """Hand `say` a place for a file that lives until the store has it. Trouble costs the file, not the work."""
        try:
            self._recorder.files.mkdir(parents=True, exist_ok=True)
            say(Path(tempfile.mkdtemp(dir=self._recorder.files)) / name)
        except (OSError, ValueError) as error:  # a full disk, or a picture that is none
            spool.say(f"{name} of {self.stage} could not be kept ({error}).")
