"""Secrets are refused where they would be stored: parameters go into dvc.lock, DVC's cache, MLflow and Prefect's database.

A refusal names the parameter and where the secret belongs instead, never the secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from iqaflow.core.errors import InputError
from iqaflow.core.security.redaction import carries_secret, is_address_with_secret

INSTEAD = {  # parameter, or its last part -> where its secret belongs
    "annotate.teacher.url": "put the key into the environment variable IQAFLOW_TEACHER_KEY",
    "source.catalogue": "put user and password into ~/.netrc, or into the file that the environment variable NETRC names",
    "source.path": "give it to DVC with `dvc remote modify --local`, or put it into ~/.netrc",
    "model": "put the hub's token into the environment variable HF_TOKEN",
    "base": "put the hub's token into the environment variable HF_TOKEN",
}
OTHERWISE = "set it as an environment variable of the program that needs it"
ADDRESSES = {  # environment variables with the address of a server -> where its user and password belong
    "IQAFLOW_TRACKING_URI": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)",
    "MLFLOW_TRACKING_URI": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)",
    "MLFLOW_REGISTRY_URI": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)",
    "PREFECT_API_URL": "PREFECT_API_AUTH_STRING (or PREFECT_API_KEY)",
}


def parameter(tree: Mapping[str, Any]) -> str | None:
    """One sentence about the first parameter that carries a secret; None if none does."""
    for key, value in _texts(tree, ""):
        if carries_secret(value) or (key.endswith(".url") and _asks(value)):
            instead = INSTEAD.get(key) or INSTEAD.get(key.rpartition(".")[2]) or OTHERWISE
            return (
                f"{key} holds a password, token or key, and parameters are kept in dvc.lock, MLflow and Prefect: "
                f"take it out and {instead}"
            )
    return None


def address(url: str, where: str) -> None:
    """Raises InputError if an address of a catalogue carries a secret: addresses are kept with what is downloaded."""
    if is_address_with_secret(url):
        raise InputError(
            f"{where}: an address holds a user, a password or a key, and addresses are kept with the data: take it "
            f"out and {INSTEAD['source.catalogue']}"
        )


def environment() -> None:
    """Raises InputError if the address of a server in the environment carries a secret. Addresses of databases may: there is
    no other way for them, and no message shows them.
    """
    for name, instead in ADDRESSES.items():
        if is_address_with_secret(os.environ.get(name, "")):
            raise InputError(
                f"{name} holds a user, a password or a key, and addresses of servers are shown and stored: take it "
                f"out of the address and set {instead} instead."
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text of a tree with its dotted key; names of entries that people choose are texts, too."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield key or "a parameter's name", str(name)
            yield from _texts(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, str):
        yield key, value


def _asks(url: str) -> bool:
    """Whether an address has a query, which is where keys stand."""
    try:
        return bool(urlsplit(url).query)
    except ValueError:
        return False
