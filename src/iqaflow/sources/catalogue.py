"""Catalogues: what a data set consists of, where it is published and how its bytes are checked, as YAML.

Those in `iqaflow/sources/catalogues/` go by name (`source.catalogue=bsds500`); one of your own goes by its path. The shape is
the `Catalogue` below.
"""

from __future__ import annotations

import csv
import hashlib
import re
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError, model_validator

from iqaflow.core.config import refusal
from iqaflow.core.config.schema import Section
from iqaflow.core.errors import InputError
from iqaflow.core.workspace import Workspace
from iqaflow.sources.listing import located

SHIPPED = Path(__file__).with_name("catalogues")
HEX = r"^[0-9a-f]*$"


class Part(Section):
    """One thing to download: an archive, a list of addresses, or a single file."""

    url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    kind: Literal["zip", "tar", "list", "file"] = "zip"
    """`tar` may be compressed; a `list` is a text with one address per line, or a CSV `url[,file,sha256,license,origin]`."""
    urls: tuple[str, ...] = ()
    """The addresses of a `list`, given here instead of in a file of their own."""
    name: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")
    """Folder it is unpacked to; the file name of the address without its suffix where this is empty."""
    bytes: int | None = None
    """Size of the file at the address."""
    sha256: str | None = Field(default=None, pattern=HEX, min_length=64, max_length=64)
    md5: str | None = Field(default=None, pattern=HEX, min_length=32, max_length=32)
    """Checksums; where both are null, what comes first is recorded and any later change is an error."""
    photographs: tuple[str, ...] = ("*",)
    """Which members are photographs: shell patterns, whose `*` also matches `/`."""
    keep: tuple[str, ...] = ()
    """Further members to unpack: masks, scores, licences."""
    inner: tuple[str, ...] = ()
    """Zip archives inside the archive, unpacked where they lie."""

    @model_validator(mode="after")
    def _complete(self) -> Part:
        if bool(self.url) == bool(self.urls) or (self.urls and (self.kind != "list" or not self.name)):
            raise ValueError("give `url`, or for kind=list `urls` with a `name`")
        return self

    @property
    def folder(self) -> str:
        """Folder it is unpacked to."""
        stem = PurePosixPath(unquote(urlsplit(self.url).path)).name
        for suffix in (".zip", ".tgz", ".tar", ".gz", ".bz2", ".xz", ".csv", ".txt"):
            stem = stem.removesuffix(suffix).removesuffix(".tar")
        return self.name or stem

    @property
    def file(self) -> str:
        """Name of the downloaded file while it is there."""
        return f".{self.folder}.download"

    def wants(self, member: str) -> bool:
        return any(fnmatchcase(member, pattern) for pattern in (*self.photographs, *self.keep, *self.inner))

    def is_photograph(self, member: str) -> bool:
        return any(fnmatchcase(member, pattern) for pattern in self.photographs) and not any(
            fnmatchcase(member, pattern) for pattern in (*self.keep, *self.inner)
        )


class CocoLicences(Section):
    """The COCO JSON that names each image's licence: a kept member of a part."""

    part: str
    file: str


class Catalogue(Section):
    """A data set: its parts, its licence and its home."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = ""
    homepage: str = ""
    license: str
    """Licence of photographs that nothing more precise speaks of."""
    parts: tuple[Part, ...] = Field(min_length=1)
    coco_licences: CocoLicences | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Catalogue:
        folders = [part.folder for part in self.parts]
        if len(set(folders)) < len(folders) or "" in folders:
            raise ValueError(f"parts need different names, got {folders}")
        return self


class Address(Section):
    """A line of a list: an address, the file name it gets, and what is known about it."""

    url: str = Field(pattern=r"^https?://\S+$")
    file: str
    sha256: str | None = Field(default=None, pattern=HEX, min_length=64, max_length=64)
    license: str = ""
    origin: str = ""


def shipped() -> list[str]:
    """Names of the catalogues that come with the project."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read(name: str, workspace: Workspace) -> Catalogue:
    """A catalogue by name or path. Raises InputError with one sentence on what is wrong with it, a secret in it included."""
    from ruamel.yaml import YAML, YAMLError

    path = SHIPPED / f"{name}.yaml" if name in shipped() else located(name, workspace)
    try:
        catalogue = Catalogue.model_validate(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"source.catalogue={name} is neither one of {', '.join(shipped())} nor a YAML file.") from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise InputError(f"The catalogue {path} cannot be read ({' '.join(str(error).split())[:200]}).") from None
    except ValidationError as error:
        raise InputError(f"The catalogue {path} is not right: {_faults(error)}.") from None
    for number, part in enumerate(catalogue.parts):
        for url in (catalogue.homepage, part.url, *part.urls):
            refusal.address(url, f"The catalogue {path}, parts.{number}")
    return catalogue


def addresses(text: str, where: str) -> list[Address]:
    """The lines of a list. Raises InputError naming the first bad line."""
    lines = [line.strip() for line in text.splitlines()]
    if lines and lines[0].lower().split(",")[0] == "url":
        rows = [
            {key: value.strip() for key, value in row.items() if key and value and value.strip()} for row in csv.DictReader(lines)
        ]
    else:
        rows = [{"url": line} for line in lines if line and not line.startswith("#")]
    by_name: dict[str, Address] = {}
    for number, row in enumerate(rows, 1):
        try:
            refusal.address(row.get("url", ""), "it is refused")
            address = Address.model_validate({"file": _file(row.get("url", "")), **row})
            address = address.model_copy(update={"file": inside(address.file)})
        except (ValidationError, InputError) as error:
            why = _faults(error) if isinstance(error, ValidationError) else str(error)
            raise InputError(f"{where}, entry {number}: {why}.") from None
        if address.file in by_name and by_name[address.file].url != address.url:
            raise InputError(f"{where}, entry {number}: {address.file} is the file name of two addresses.")
        by_name[address.file] = address
    return list(by_name.values())


def inside(name: str) -> str:
    """A member or file name as a relative path that stays inside its folder; raises InputError for any other."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise InputError(f"{name!r} would leave its folder")
    return path.as_posix()


def _file(url: str) -> str:
    """A file name for an address without one: its last part, made unique and plain."""
    last = PurePosixPath(unquote(urlsplit(url).path)).name or "photograph"
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in last).lstrip(".")[-80:]
    return f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{plain}"


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg'].removeprefix('Value error, ').lower()}"
        for item in error.errors()[:3]
    )
