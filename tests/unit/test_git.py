"""git by subprocess: the folder says which repository is meant, and a failure is one sentence."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from iqaflow.core.clients import git
from iqaflow.core.errors import BAD_INPUT, FAILED, InputError, PipelineError, exit_code, sentence


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings and no repository of whoever runs the tests."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))


def repository(folder: Path) -> Path:
    """A repository with one commit, which holds `NAME.txt`."""
    folder.mkdir()
    (folder / f"{folder.name}.txt").write_text("text\n")
    git.run(folder, "init", "--quiet")
    git.run(folder, "add", ".")
    git.commit(folder, f"First of {folder.name}")
    return folder


def test_a_commit_needs_no_settings_and_is_ours(tmp_path: Path) -> None:
    ours = repository(tmp_path / "ours")
    assert git.run(ours, "log", "--format=%an <%ae> %s") == "iqaflow <iqaflow@localhost> First of ours"
    assert git.head(ours) == git.run(ours, "rev-parse", "HEAD")
    (ours / "folder").mkdir()
    assert git.root(ours / "folder") == ours.resolve()


def test_no_hook_of_the_users_stops_a_commit(tmp_path: Path) -> None:
    ours = repository(tmp_path / "ours")
    hook = ours / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (ours / "ours.txt").write_text("other\n")
    git.run(ours, "add", ".")
    git.commit(ours, "Second")
    assert git.run(ours, "rev-list", "--count", "HEAD") == "2"


def test_variables_of_a_calling_hook_do_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, hooks = repository(tmp_path / "ours"), repository(tmp_path / "hooks")
    right, other = git.head(ours), git.head(hooks)
    monkeypatch.setenv("GIT_DIR", str(hooks / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(hooks))
    monkeypatch.setenv("GIT_INDEX_FILE", str(hooks / ".git" / "index"))
    monkeypatch.setenv("GIT_PREFIX", "folder/")
    plain = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ours, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == other, "the variables do mislead git itself"
    assert git.head(ours) == right != other
    assert git.root(ours) == ours.resolve()
    (ours / "new.txt").write_text("text\n")
    git.run(ours, "add", "new.txt")
    git.commit(ours, "Second")
    assert git.run(ours, "ls-files").split() == ["new.txt", "ours.txt"]
    assert git.head(hooks) == other and git.run(hooks, "status", "--porcelain") == ""
    assert git.head(tmp_path) is None, "a folder outside of any stays outside"


def test_who_commits_and_what_is_set_reaches_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-02-03T04:05:06Z")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "iqaflow.answer")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "42")
    ours = repository(tmp_path / "ours")
    assert git.run(ours, "log", "--format=%ad", "--date=short") == "2001-02-03"
    assert git.ask(ours, "config", "iqaflow.answer") == "42"


def test_outside_of_a_repository_and_before_the_first_commit(tmp_path: Path) -> None:
    assert git.root(tmp_path) is git.head(tmp_path) is git.ask(tmp_path, "status") is None
    git.run(tmp_path, "init", "--quiet")
    assert git.root(tmp_path) == tmp_path.resolve() and git.head(tmp_path) is None


def test_a_failure_is_one_sentence_and_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as failed:
        git.run(tmp_path, "status", "--porcelain")
    assert sentence(failed.value).startswith(f"`git status --porcelain` failed in {tmp_path}: fatal: not a git repository")
    assert exit_code(failed.value) == FAILED
    with pytest.raises(PipelineError, match=r"failed in .*absent: No such file"):
        git.run(tmp_path / "absent", "status")


def test_a_git_that_does_not_answer(tmp_path: Path) -> None:
    sleeping = ("-c", "alias.sleep=!sleep 5", "sleep")
    git.run(tmp_path, "init", "--quiet")
    with pytest.raises(PipelineError, match="no answer within 0 s"):
        git.run(tmp_path, *sleeping, timeout_seconds=0.2)


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.head(tmp_path) is None
    for call in (git.root, git.run):
        with pytest.raises(InputError, match="git is not installed: install it and run the same command again") as missing:
            call(tmp_path)
        assert exit_code(missing.value) == BAD_INPUT
