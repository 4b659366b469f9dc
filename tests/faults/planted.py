"""Secrets of every shape planted where people leave them, and the search for them in every byte that the product wrote."""

from __future__ import annotations

import base64
import gzip
import os
import secrets
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

WORD = secrets.token_hex  # values that occur nowhere by chance


class Planted:
    """The secrets of one test: `environment` for processes, `text` as it stands in code, logs and answers."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        make = self._make
        self.environment = {
            "IQAFLOW_TEACHER_KEY": make("teacher key", f"key-{WORD(8)}"),
            "MY_DB_PASSWORD": make("password with marks", f"p@ss/{WORD(6)} &\"'ü"),
            "SOME_CREDENTIALS": make("credentials", WORD(12)),
            "DATABASE_URL": f"postgresql://me:{make('password of a database', WORD(8))}@127.0.0.1:1/x",
        }
        self.remote = f"https://me:{make('password of a git remote', WORD(8))}@git.example/x.git"
        self.file_name = f"ghp_{make('token in a file name', WORD(18))}.txt"
        private = base64.b64encode(secrets.token_bytes(96)).decode()
        self.lines = [
            f"http://me:{make('password in an address', WORD(6))}@127.0.0.1/v1 failed",
            f"https://{make('token in an address', WORD(8))}@127.0.0.1/v1",
            f"http://:{make('password without a user', WORD(8))}@127.0.0.1",
            f"http://me:a@{make('password with an at', WORD(6))}@127.0.0.1/x",
            f"Authorization: Bearer {make('bearer', WORD(10))}",
            f"Authorization: Basic {make('basic', base64.b64encode(WORD(9).encode()).decode())}",
            f"X-Api-Key: {make('header', WORD(8))}",
            f"apikey={make('apikey', WORD(6))} passwd={make('passwd', WORD(6))}",
            f'{{"password": "{make("JSON", WORD(6))}"}}',
            f"api_key: '{make('YAML', WORD(6))}'",
            f"aws_secret_access_key = {make('AWS secret', WORD(20))}",
            f"AKIA{make('AWS id', WORD(8).upper())}",
            f"hf_{make('hub', WORD(12))} sk-proj-{make('OpenAI', WORD(12))} glpat-{make('GitLab', WORD(10))}",
            f"xoxb-{make('Slack', WORD(10))} AIza{make('Google', WORD(18)[:35])} npm_{make('npm', WORD(18))}",
            f"eyJhbGciOiJIUzI1NiJ9.{make('JWT', WORD(12))}.{make('JWT signature', WORD(12))}",
            f"https://b.example/o?X-Amz-Signature={make('signed URL', WORD(16))}&sig={make('sig', WORD(16))}",
            f"-----BEGIN PRIVATE KEY-----\n{make('PEM', private[:64])}\n{make('PEM, second line', private[64:])}\n"
            "-----END PRIVATE KEY-----",
        ]
        basic = base64.b64encode(f"someone:{self.values['credentials']}".encode()).decode()
        self.text = "\n".join([*self.lines, f"sent {basic}", *self.environment.values(), ""])

    def _make(self, name: str, value: str) -> str:
        self.values[name] = value
        return value

    def hits(self, where: dict[str, bytes]) -> list[str]:
        """`shape in place` for every planted value in these bytes: as it is, quoted for URLs, in base64."""
        return [
            f"{name} in {place}"
            for place, content in where.items()
            for name, value in self.values.items()
            if any(form in content for form in forms(value))
        ]


def forms(value: str) -> set[bytes]:
    data = value.encode()
    coded = {base64.b64encode(bytes(before) + data)[(0, 2, 3)[before] : -3] for before in range(3)}
    return {data, quote(value).encode(), quote(value, safe="").encode(), *coded}


def written(root: Path, *, besides: set[str]) -> dict[str, bytes]:
    """Every file below `root`, with what compressed ones hold, and its name; but those that the test itself planted."""
    found: dict[str, bytes] = {}
    for path in sorted(root.rglob("*")):
        name = os.path.relpath(path, root)
        if name in besides or not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        found[name] = content
        for part, inside in _inside(path, content):
            found[f"{name}!{part}"] = inside
    return found


def _inside(path: Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    if content[:2] == b"\x1f\x8b":
        yield "gzip", gzip.decompress(content)
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    elif content[:4] == b"PAR1":
        import pyarrow.parquet

        yield "table", str(pyarrow.parquet.read_table(path).to_pylist()).encode()
    elif ".git" in path.parts and "objects" in path.parts and content[:1] == b"x":
        yield "object", zlib.decompress(content)


STAGE = """
def reveal(workspace, stage):  # what a careless stage, a library, or a teacher's server does with secrets
    import logging
    how, text = os.environ.get("REVEAL", ""), open(os.environ["PLANTED"]).read()
    if stage == "validate" and how:
        print(text, flush=True)
        logging.getLogger("toy").error("careless: %s", text)
    if stage == "validate" and how == "tell":
        os.write(1, text.encode())  # past Python, as a library in C or a program does
    if stage == "validate" and how == "raise":
        raise RuntimeError(text)
    if stage == "validate" and how == "teacher":
        from iqaflow.annotate.teachers import http
        from iqaflow.core.config.schema import Teacher
        http.Backend(Teacher(kind="http", url=os.environ["TEACHER"], model="m"), workspace).write("?", [], {})
    return text if how == "tell" else ""
"""


def careless(root: Path) -> None:
    """Let the toy's stages reveal what they are told to."""
    script = (root / "toy.py").read_text()
    script = script.replace(
        "def run(config, workspace):",
        STAGE + '\ndef run(config, workspace):\n    told = reveal(workspace, os.environ.get("DVC_STAGE", "gate"))',
    )
    script = script.replace('All well.", details={', 'All well.\\n{told}", details={"told": told, ')
    assert script.count("told") == 4, "the toy has changed"
    (root / "toy.py").write_text(script)


if __name__ == "__main__":
    sys.exit("imported by test_secrets.py")
