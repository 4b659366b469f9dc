"""Leases (core/lock.py): one holder, who is named; free again when it ends, in whatever way."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from iqaflow.core import lock
from iqaflow.core.errors import STOPPED, NoSpaceError, exit_code


def test_who_holds_it_is_named_and_nobody_else_gets_it(tmp_path: Path) -> None:
    lease, refusals = tmp_path / "locks" / "run.lock", []

    def ask() -> None:
        try:
            with lock.hold(lease, "run"):
                refusals.append("two hold it")
        except lock.BusyError as error:
            assert exit_code(error) == STOPPED
            refusals.append(str(error))

    with lock.hold(lease, "run"):
        ask()
        other = threading.Thread(target=ask)
        other.start()
        other.join()
        assert lock.held(lease)
    assert len(refusals) == 2
    assert all(
        text.startswith(f"Another run is at work in this checkout (process {os.getpid()} on ")
        and text.endswith(" s ago): wait for it, or stop it first.")
        for text in refusals
    )
    assert not lock.held(lease) and lease.read_bytes() == b"" and not lock.held(tmp_path / "none")
    lease.unlink()
    with lock.hold(lease, "run"):
        assert lock.held(lease)


def test_a_fork_neither_takes_the_lease_nor_keeps_it(tmp_path: Path) -> None:
    lease, going, parent = tmp_path / "run.lock", os.pipe(), os.getpid()
    (tmp_path / "data").write_text("whole")
    with lock.hold(lease, "run"):
        child = os.fork()
        if child == 0:  # opens a file, which gets the number of the lease's, and leaves the block
            opened = os.open(tmp_path / "data", os.O_RDWR)
        else:
            assert os.waitpid(child, 0)[1] == 0
            assert lock.held(lease) and (tmp_path / "data").read_text() == "whole"
    if os.getpid() != parent:
        os.close(opened)
        os._exit(0)
    with lock.hold(lease, "run"):
        child = os.fork()
        if child == 0:  # outlives the block
            os.read(going[0], 1)
            os._exit(0)
    with lock.hold(lease, "run"):
        os.write(going[1], b"x")
        os.waitpid(child, 0)
    for end in going:
        os.close(end)


def test_what_fails_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock.hold(tmp_path / "run.lock", "run"):
        raise KeyError
    assert not lock.held(tmp_path / "run.lock")


def test_a_full_disk_is_one_sentence_and_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(NoSpaceError, match=r"run\.lock"), lock.hold(tmp_path / "run.lock", "run"):
            raise AssertionError("held without a name")
    assert not lock.held(tmp_path / "run.lock")
