"""Damaged files of a data set stop the validate stage before anything is judged, or are named column by column."""

from __future__ import annotations

import shutil

import pytest

from iqaflow.core.errors import DamagedError, StageError
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import Workspace
from tests.faults import poison_rows
from tests.faults.poison_rows import named, validate, verdict, write


@pytest.fixture(scope="module")
def rows(annotated):
    return poison_rows.rows(annotated)


def test_flipped_byte_is_caught_by_the_manifest(rows, tmp_path):
    workspace = Workspace(tmp_path)
    write(workspace, *rows)
    part = workspace.annotated / "images" / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    workspace.validation.write_text('{"success": true}')  # of an earlier run
    with pytest.raises(DamagedError, match=r"part-00001\.parquet"):
        validate(workspace)
    assert not workspace.validation.exists()


def test_part_that_is_not_in_the_manifest(rows, tmp_path):
    workspace = Workspace(tmp_path)
    write(workspace, *rows)
    images = workspace.annotated / "images"
    shutil.copy(images / "part-00000.parquet", images / "part-00002.parquet")
    with pytest.raises(DamagedError, match=r"part-00002\.parquet is not in the manifest"):
        validate(workspace)


def test_missing_column(rows, tmp_path):
    import pyarrow.parquet as pq

    workspace = Workspace(tmp_path)
    write(workspace, *rows)
    work = tmp_path / "again"
    shutil.copytree(workspace.annotated, work)
    part = work / "images" / "part-00001.parquet"
    pq.write_table(pq.read_table(part).drop_columns(["phash"]), part)
    commit_directory(work, workspace.annotated)
    with pytest.raises(StageError, match=r"part=images/part-00001\.parquet name=phash found=missing expected=string"):
        validate(workspace)
    assert "phash" in named(verdict(workspace), "columns", "found")
    assert "phash" in (workspace.reports / "validation.html").read_text(encoding="utf-8")


def test_empty_table(rows, tmp_path):
    workspace = Workspace(tmp_path)
    write(workspace, rows[0], [])
    with pytest.raises(StageError, match=r'"Both tables have rows\." does not hold .*table=conversations rows=0'):
        validate(workspace)
    assert not verdict(workspace)["success"]


def test_no_data_yet(tmp_path):
    with pytest.raises(DamagedError, match="has no manifest, so it is not complete"):
        validate(Workspace(tmp_path))
