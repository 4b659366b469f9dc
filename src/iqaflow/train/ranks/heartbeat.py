"""Signs of life of the training ranks, and the launcher's watch over them.

Each rank keeps `beats/rank-N.json` in the work folder (which several hosts may share). A thread writes it once a second, so a
stopped process, or one stuck in C code that never lets go, falls silent; the marks that the training sets on its way say how
far it got. The launcher compares each file with its own earlier content by its own clock: clocks of other hosts may differ.

    heartbeat.start(work, rank, world)         # in a rank, before anything that may hang
    heartbeat.mark("step", 17, 2)              # before micro-batch 2 of step 17
    hang = Watch(work, 2, 300).look(seconds)   # in the launcher, again and again
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TypedDict

from iqaflow.core.files import explain_full_disk

FOLDER = "beats"
BEAT_SECONDS = 1.0
GRACE_SECONDS = 60.0  # on top of twice the slowest steps
NAP_SECONDS = 5.0  # longer gaps between two looks are the launcher's own sleep, and nobody's silence
BYTES = 512  # of a beat, always the same: written over in place, so that a full disk silences nobody
GONE = 75  # exit code of a rank whose place was given to a newer attempt
ORDER = ("loading", "step", "evaluating", "checkpoint", "probes", "saving", "ending")  # within a step
WORDS = {
    "loading": "while it loads",
    "step": "in step {step}, micro-batch {micro}",
    "ending": "at the end",
    "evaluating": "while it measures the loss after step {step}",
    "checkpoint": "in the checkpoint after step {step}",
    "probes": "while it draws probes after step {step}",
    "saving": "while it saves the model",
}
TIMED = ("step", "ending")  # phases whose progress has a limit; the others take as long as they take, if the rank beats
COLLECTIVES = (f"{os.sep}torch{os.sep}distributed{os.sep}", f"{os.sep}deepspeed{os.sep}comm{os.sep}")


class Progress(TypedDict):
    """How far a rank got, and when; `progress` counts its marks."""

    phase: str
    step: int
    micro: int
    part: int
    progress: int
    moved: float


class Identity(TypedDict):
    """Which rank it is, of how many, and the process that runs it."""

    rank: int
    world: int
    pid: int
    host: str


class Beat(Progress, Identity):
    """What a rank's file holds; `waiting`: it is inside a collective."""

    beat: int
    at: float
    waiting: bool


_now: Progress = {"phase": "loading", "step": 0, "micro": 0, "part": 0, "progress": 0, "moved": time.time()}
_changed = threading.Event()  # a new phase is written at once


def mark(phase: str, step: int, micro: int = 0, part: int = 0) -> None:
    """Note that this rank got as far as `part` (0 data and forward, 1 backward, 2 update) of a micro-batch, both counted from 0,
    or into another phase. Costs a dictionary.
    """
    global _now
    if phase != _now["phase"]:
        _changed.set()
    _now = {"phase": phase, "step": step, "micro": micro, "part": part, "progress": _now["progress"] + 1, "moved": time.time()}


def start(work: Path, rank: int, world: int) -> None:
    """Beat from now on, until the process ends."""
    file = path(work, rank)
    file.parent.mkdir(exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    who: Identity = {"rank": rank, "world": world, "pid": os.getpid(), "host": socket.gethostname()}
    threading.Thread(target=_beat, args=(file, handle, who, threading.get_ident()), daemon=True, name="heartbeat").start()


def path(work: Path, rank: int) -> Path:
    return work / FOLDER / f"rank-{rank}.json"


def _beat(file: Path, handle: int, who: Identity, main: int) -> None:
    for beats in count(1):
        _changed.clear()
        waiting = _in_collective(sys._current_frames().get(main))
        content = json.dumps({**who, **_now, "beat": beats, "at": time.time(), "waiting": waiting}).encode().ljust(BYTES)
        try:
            os.pwrite(handle, content, 0)
        except OSError:  # no room even to write over (some file systems copy): the time of change needs none
            with suppress(OSError):
                os.utime(file)
        if _taken(file, handle):
            os._exit(GONE)
        _changed.wait(BEAT_SECONDS)


def _taken(file: Path, handle: int) -> bool:
    """Whether the launcher has begun another attempt, with beats of its own: one that wakes late must not write beside it."""
    try:
        return os.stat(file).st_ino != os.fstat(handle).st_ino
    except FileNotFoundError:
        return True
    except OSError:  # a shared file system that hiccups
        return False


def _in_collective(frame: FrameType | None) -> bool:
    """Whether a thread is inside torch's or DeepSpeed's communication: it then waits for other ranks (on a CPU; the host of a
    GPU waits elsewhere, and only its marks tell).
    """
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in COLLECTIVES):
            return True
        frame = frame.f_back
    return False


@dataclass
class Rank:
    """What the launcher has seen of a rank, by its own clock."""

    number: int
    beat_at: float
    moved_at: float
    content: tuple[bytes, int] = (b"", 0)
    beat: Beat | None = None

    @property
    def position(self) -> tuple[int, int, int, int, bool]:
        """How far it got; of two that got equally far, the one that waits for others is ahead."""
        beat = self.beat
        if beat is None:
            return -1, ORDER.index("loading"), 0, 0, False
        turn = beat["micro"] // beat["world"]  # ranks take the micro-batches of a step in turns
        return beat["step"], ORDER.index(beat["phase"]), turn, beat["part"], beat["waiting"]


@dataclass(frozen=True)
class Hang:
    """A rank that hangs, in words."""

    rank: int
    words: str


class Watch:
    """Tells a rank that hangs from one that is slow. `together`: the ranks start with the launcher, so that even the first beat
    is due; else (several hosts, which somebody starts) not before another rank's.
    """

    def __init__(self, work: Path, ranks: int, seconds: float, together: bool = True) -> None:
        self.work, self.seconds, self.together = work, seconds, together
        self._clock, self._looked = 0.0, time.monotonic()
        (work / FOLDER).mkdir(parents=True, exist_ok=True)
        for old in (work / FOLDER).glob("rank-*"):
            old.unlink()
        with explain_full_disk(work):
            for number in range(ranks):
                path(work, number).write_bytes(b" " * BYTES)
        self.ranks = {number: Rank(number, 0.0, 0.0) for number in range(ranks)}

    def look(self, step_seconds: Sequence[float], ended: Collection[int] = (), pids: Sequence[int] = ()) -> Hang | None:
        """The rank that hangs, if one does, after steps that took so long; `ended` ranks are left out. Call it often."""
        now = time.monotonic()
        self._clock += min(now - self._looked, NAP_SECONDS)
        self._looked = now
        self._read()
        if not self.seconds:
            return None
        watched = [rank for rank in self.ranks.values() if rank.number not in ended]
        if not self.together and not any(rank.beat for rank in watched):
            watched = []
        limit = self.limit(step_seconds)
        silent = [rank for rank in watched if self._clock - rank.beat_at > limit]
        if silent:
            first = min(silent, key=lambda rank: rank.beat_at)
            return Hang(first.number, self._words(first, pids, "been silent", first.beat_at))
        last = min(watched, key=lambda rank: rank.position, default=None)  # the others may wait for it, as long as it works
        if last and last.beat and last.beat["phase"] in TIMED and self._clock - last.moved_at > limit:
            return Hang(last.number, self._words(last, pids, "made no progress", last.moved_at))
        return None

    def limit(self, step_seconds: Sequence[float]) -> float:
        """How long a rank may be silent, in seconds."""
        slow = sorted(step_seconds)[int(0.99 * (len(step_seconds) - 1))] if step_seconds else 0.0
        return max(2 * slow + GRACE_SECONDS, self.seconds)

    def _read(self) -> None:
        for file in (self.work / FOLDER).glob("rank-*.json"):
            number = int(file.stem[5:])
            rank = self.ranks.setdefault(number, Rank(number, self._clock, self._clock))
            try:
                content = file.read_bytes(), file.stat().st_mtime_ns
            except OSError:
                continue
            if rank.content[0] == b"":  # what was there before the rank
                rank.content = (b" " * BYTES, content[1])
            if content == rank.content:
                continue
            rank.content, rank.beat_at = content, self._clock
            try:
                beat: Beat = json.loads(content[0])
            except ValueError:  # read while it was written, or only touched
                continue
            if rank.beat is None or beat["progress"] != rank.beat["progress"]:
                rank.moved_at = self._clock
            if rank.beat is None and not self.together:  # who has not begun may from now on be late
                for other in self.ranks.values():
                    other.beat_at = self._clock if other.beat is None else other.beat_at
            rank.beat = beat

    def _words(self, rank: Rank, pids: Sequence[int], what: str, since: float) -> str:
        if rank.beat:
            where = WORDS[rank.beat["phase"]].format(step=rank.beat["step"] + 1, micro=rank.beat["micro"] + 1)
            who = f" (process {rank.beat['pid']} on {rank.beat['host']})"
        else:
            where = "before its first sign of life"
            who = f" (process {pids[rank.number]} on {socket.gethostname()})" if rank.number < len(pids) else ""
        return f"training rank {rank.number}{who} has {what} for {self._clock - since:.0f} s {where}"
