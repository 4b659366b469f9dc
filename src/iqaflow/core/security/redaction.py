"""Passwords, tokens and keys are shown and stored nowhere: the one redactor of every sink, and what refuses them as input.

    redact("http://me:hunter2@host/v1 failed")      # "http://***@host/v1 failed"

Hidden are what looks like a secret (`PATTERNS`, `NAMED`), and the value of every environment variable whose name says that it
is one, wherever it occurs: as it is, quoted for a URL, JSON or HTML, or inside base64. Every pattern takes linear time.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import logging
import os
import re
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

HIDDEN = "***"
SHORTEST = 8  # an environment variable's value of fewer characters is too ordinary to be replaced wherever it occurs
LONGEST = 4000  # characters of one secret, and of a base64 run that is looked at

PATTERNS = tuple(
    (re.compile(pattern), shown)
    for pattern, shown in (
        (
            r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s\\:,.]|-(?!----))*"
            r"(?:-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
            HIDDEN,
        ),
        # user and password of an address, up to its last @; the second pattern is for those with a / ? or # inside
        (r"(?<=://)[^\s/?#\"'<>`]{1,4000}(?=@)", HIDDEN),
        (r"(?<=://)(?!\[)[^\s/@:?#\"'<>`]{0,200}:(?!\d{1,5}[/?#])[^\s@\"'<>`]{1,200}(?=@)", HIDDEN),
        # headers
        (
            r"(?i)(\b(?:proxy-)?authorization\\{0,3}[\"']?\s{0,4}[:=]\s{0,4}\\{0,3}[\"']?)"
            r"(?:(?:basic|bearer|token|apikey|negotiate)\s+[^\s\"'\\]+|(?:aws4|digest)[^\r\n\"'\\]*|[^\s\"'\\]+)",
            rf"\1{HIDDEN}",
        ),
        (r"(?i)(\b(?:set-)?cookie\\{0,3}[\"']?:\s{0,4}\\{0,3}[\"']?)[^\r\n\"'\\]+", rf"\1{HIDDEN}"),
        (
            r"(\b(?i:bearer)(?:\s{1,4}|%20|\+))(?!realm)(?=[a-z~+/=-]{0,300}[A-Z0-9._]|[a-z~+/=-]{16})[\w.~+/=-]{6,}",
            rf"\1{HIDDEN}",
        ),
        (r"(\b(?i:basic)(?:\s{1,4}|%20|\+))(?=[a-z/+]{0,300}[A-Z0-9=])[A-Za-z0-9+/]{7,}={0,2}", rf"\1{HIDDEN}"),
        # tokens that say whose they are
        (
            r"(?<![A-Za-z0-9])(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|gl[a-z]{2,6}-[\w-]{16,}|hf_\w{20,}|npm_\w{20,}|pypi-[\w-]{30,}"
            r"|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}"
            r"|[srp]k_(?:live|test)_\w{16,}|pn[ubs]_\w{20,}|dckr_pat_[\w-]{20,}|SG\.[\w-]{16,200}\.[\w-]{16,}"
            r"|sk-(?=[A-Za-z_-]{0,200}\d)[\w-]{20,})",
            HIDDEN,
        ),
        (r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", HIDDEN),  # JSON web tokens
        (r"(hooks\.slack\.com/services/)[\w/]{10,}", rf"\1{HIDDEN}"),
        # queries
        (
            r"(?i)([?&;](?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|awsaccesskeyid|key|auth|token|sas|pass)=)"
            r"[^&\s\"'#<>]+",
            rf"\1{HIDDEN}",
        ),
        (r"(?i)(?<![a-z])((?:signature|sig)=)[\w%+/=.~-]{16,}", rf"\1{HIDDEN}"),
    )
)
STRONG = (  # names whose value is a secret whatever it looks like
    r"password|passwd|passphrase|(?<![a-z])pwd|api[_-]?key|(?<![a-z])apikey|secret|secret[_-]?key"
    r"|(?:secret[_-]?)?access[_-]?key(?:[_-]?id)?|(?:private|auth|account|signing|encryption|subscription)[_-]?key"
    r"|auth[_-]?string|(?<![a-z0-9])(?:auth|access|api|refresh|session|bearer|id|hf|hub|github|gitlab|git|npm|pypi|private|deploy"
    r"|security|oauth|user|bot)[_-]?token"
)
WEAK = r"(?<![a-z0-9_-])(?:token|pass|credentials?)|(?<=[a-z0-9]_)(?-i:TOKEN|KEY|PASS|CREDENTIALS?|AUTH)"
NAMED = re.compile(
    rf"(?i)(?P<name>(?P<strong>{STRONG})|{WEAK})"
    r"(?P<between>\\{0,3}[\"']?(?P<sign>\s{0,4}(?:=>?|:)\s{0,4}|%3[DA]))"
    r"(?:(?P<mark>\\{0,3}[\"'])(?P<quoted>(?:(?!(?P=mark))[^\n]){0,4000})|(?P<plain>[^\s\"'&<>]*[^\s\"'&<>,;.)}\]]))"
)
FLAG = re.compile(r"(?i)(--[a-z-]{0,30}(?:password|passwd|token|secret|api-?key)[ =]+)(?!-)[^\s\"']+")
HARMLESS = re.compile(
    r"(?i)(?:none|null|true|false|undefined|str|bytes|string|any|secretstr|\*+|\$\{?[a-z_]+\}?|%\(?[a-z_]+\)?s?|\{[a-z_.]*\}?|<\w+>"
    r"|(?:os|self|settings|config|getenv|getpass|args|kwargs|request|cls|environ|secrets)[.(\[].*)"
)
ENVIRONMENT = re.compile(  # names of environment variables that hold a secret
    r"(?i)(?:^|\w)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH_STRING|_PASS|_PWD|_PAT|_AUTH)(?:_ID|_BASE64|_B64)?$"
    r"|(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)_"
)
ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^/@:\s]*:(?!\d{1,5}/)(\S+)@")  # of a database, such as postgresql://user:password@host
KEY_LINE = re.compile(r"[\s+-]*(?:[A-Za-z0-9+/=]{4,}|[A-Za-z-]+: [\w,-]+)?\s*")  # of a private key, also in a diff
LONGEST_KEY = 200  # lines
TURNS = 10  # what is hidden may join what stands beside it; in practice two are enough


def redact(text: str) -> str:
    """`text` with every secret in it replaced by `***`. Doing it again changes nothing."""
    known = _known()
    for _ in range(TURNS):
        before = text
        if known is not None:
            text = known.sub(HIDDEN, text)
        for pattern, shown in PATTERNS:
            text = pattern.sub(shown, text)
        text = FLAG.sub(rf"\1{HIDDEN}", NAMED.sub(_hide, text))
        if text == before:
            break
    return text


class Lines:
    """The redactor of a text that comes line by line, as a private key goes over many."""

    def __init__(self) -> None:
        self.inside = 0  # lines since a private key began

    def __call__(self, line: str) -> str:
        begins, ends = "PRIVATE KEY" in line and "-----BEGIN " in line, "-----END " in line
        if self.inside and not begins:
            goes_on = not ends and self.inside < LONGEST_KEY and KEY_LINE.fullmatch(line)
            self.inside = self.inside + 1 if goes_on else 0
            if goes_on or ends:
                return HIDDEN if line.strip() else line
        if begins:
            self.inside = 0 if ends else 1
        return redact(line)


def redact_all(value: Any, name: str = "") -> Any:
    """The same for every string inside dicts, lists and tuples; a value whose name says that it is secret is hidden whole."""
    if isinstance(value, dict):
        return {key: redact_all(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(redact_all(item, name) for item in value)
    if not isinstance(value, str):
        return value
    return HIDDEN if value and re.fullmatch(rf"(?i)(?:.*[^a-z])?(?:{STRONG})", name[-80:]) else redact(value)


def carries_secret(text: str) -> bool:
    """Whether something in `text` would be hidden."""
    return redact(text) != text


def is_address_with_secret(text: str) -> bool:
    """Whether an http(s) address names a user, a password or a key."""
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return carries_secret(text)
    return parts.scheme in ("http", "https") and ("@" in parts.netloc or carries_secret(text))


def guard_logging() -> None:
    """Redact the records of every logger of this process, with their tracebacks, before any handler sees them. Calling it
    again does nothing.
    """
    make = logging.getLogRecordFactory()
    if not getattr(make, "redacts", False):
        _Record.make = make
        logging.setLogRecordFactory(_Record.redacted)


class _Record:
    make: Any = logging.LogRecord

    @staticmethod
    def redacted(*arguments: Any, **options: Any) -> logging.LogRecord:
        record: logging.LogRecord = _Record.make(*arguments, **options)
        try:
            record.msg, record.args = redact(record.getMessage()), None
        except (TypeError, ValueError, KeyError):  # arguments that do not fit: logging says so itself
            record.msg = redact(str(record.msg))
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return record


_Record.redacted.redacts = True  # type: ignore[attr-defined]


def _hide(match: re.Match[str]) -> str:
    """`name=value` without the value, unless it is plain that it is none."""
    value = match["quoted"] if match["mark"] else match["plain"]
    if not value or HARMLESS.fullmatch(value) or (match["name"].lower() == "pwd" and value.startswith("/")):
        return match[0]
    if not match["strong"]:
        if re.fullmatch(r"[\d.,%-]*", value) or (":" in match["sign"] and not _is_odd(value)):
            return match[0]
        if match["name"].isupper() and " " in match["sign"]:  # a constant in code: CACHE_KEY = "name"
            return match[0]
    return f"{match['name']}{match['between']}{match['mark'] or ''}{HIDDEN}"


def _is_odd(value: str) -> bool:
    """Whether a value looks like a token rather than a word."""
    return len(value) >= SHORTEST and " " not in value and bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))


def _known() -> re.Pattern[str] | None:
    """What matches the secrets of the environment as it is now."""
    values = {value for name, value in os.environ.items() if len(value) >= SHORTEST and _is_secret(name, value)}
    for value in os.environ.values():
        if "://" in value and (address := ADDRESS.match(value)):
            values |= {each for each in (address[1], unquote(address[1])) if len(each) >= SHORTEST}
    return _matcher(frozenset(values)) if values else None


@functools.lru_cache(maxsize=4096)
def _is_secret(name: str, value: str) -> bool:
    return bool(ENVIRONMENT.search(name)) and value.strip("*") != "" and not os.path.exists(value)  # noqa: PTH110 (Path raises for a long name)


@functools.lru_cache(maxsize=16)
def _matcher(values: frozenset[str]) -> re.Pattern[str]:
    forms = {form for value in values for form in _forms(value)}
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form))))


def _forms(value: str) -> set[str]:
    """A secret as it is, quoted in the usual ways, and what is left of it in base64 behind any user name."""
    data = value.encode("utf-8", "surrogateescape")
    forms = {
        value,
        quote(value, errors="replace"),
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        repr(value)[1:-1],
    }
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        core = whole[(0, 2, 3)[before] : len(whole) - (1 if (before + len(data)) % 3 else 0)]
        forms |= {core, core.replace("+", "-").replace("/", "_"), quote(core, safe="")}
    return {form for form in forms if len(form) >= SHORTEST}
