"""Passwords: what is allowed, how they are kept and checked, how guessing is slowed."""

import threading
from collections import OrderedDict, deque
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy.orm import Session

from app.accounts.people import find_user
from app.errors import FieldError, InvalidInput, TooMany
from app.i18n import N_
from app.models import User

SHORTEST = 8
LONGEST = 256
COMMON = Path(__file__).parent / "common_passwords.txt"
WINDOW = timedelta(minutes=15)
GUESSES_FROM_ONE_ADDRESS = 5
GUESSES_IN_ALL = 50
REMEMBERED = 4096

# One hash takes 64 MiB: a class that signs in at the same minute must not take 2 GB.
_at_once = threading.BoundedSemaphore(2)


@cache
def hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(),))


@cache
def common() -> frozenset[str]:
    return frozenset(COMMON.read_text(encoding="utf-8").split())


@cache
def _nobodys_hash() -> str:
    return hasher().hash("nobody has this password")


def problem(password: str, name: str) -> FieldError | None:
    """Why this cannot be somebody's password, or None."""
    if not SHORTEST <= len(password) <= LONGEST:
        return FieldError(
            "password",
            N_("A password has {shortest} to {longest} characters."),
            {"shortest": SHORTEST, "longest": LONGEST},
        )
    plain = password.lower()
    if plain in common() or plain == name.lower() or len(set(plain)) < 4:
        return FieldError("password", N_("This password is among the first that get guessed."))
    return None


def change(user: User, current: str, password: str) -> None:
    """Set a password; who has one must know it."""
    problems = []
    if user.password_hash is not None and not _matches(current, user.password_hash):
        problems.append(FieldError("current", N_("This is not your present password.")))
    refused = problem(password, user.name)
    if refused is not None:
        problems.append(refused)
    if problems:
        raise InvalidInput(problems)
    with _at_once:
        user.password_hash = hasher().hash(password)


def sign_in(session: Session, name: str, password: str, address: str, now: datetime) -> User:
    """The person of this name and password; anything wrong gives the same answer."""
    guesses.check(name, address, now)
    user = find_user(session, name)
    usable = user is not None and user.password_hash is not None and user.disabled_at is None
    kept = user.password_hash if user is not None and usable else None
    if not _matches(password, kept or _nobodys_hash()) or user is None or not usable:
        guesses.note(name, address, now)
        raise InvalidInput(
            [FieldError("password", N_("Name and password do not belong together."))]
        )
    return user


def _matches(password: str, kept: str) -> bool:
    with _at_once:
        return hasher().verify(password[:LONGEST].encode("utf-8", "replace"), kept)


class Guesses:
    """Wrong passwords of the last minutes, by account and by account and address.

    Kept in this process only: it slows guessing, it proves nothing. An account is never
    locked for the address its owner uses because of somebody else's few guesses.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], deque[datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, name: str, address: str, now: datetime) -> None:
        with self._lock:
            near = self._recent((name, address), now)
            everywhere = self._recent((name, ""), now)
        if near >= GUESSES_FROM_ONE_ADDRESS or everywhere >= GUESSES_IN_ALL:
            raise TooMany(
                N_("Too many wrong passwords. Try again in {minutes} minutes."),
                minutes=round(WINDOW.total_seconds() / 60),
            )

    def note(self, name: str, address: str, now: datetime) -> None:
        with self._lock:
            for key in ((name, address), (name, "")):
                self._failures.setdefault(key, deque(maxlen=GUESSES_IN_ALL)).append(now)
                self._failures.move_to_end(key)
            while len(self._failures) > REMEMBERED:
                self._failures.popitem(last=False)

    def _recent(self, key: tuple[str, str], now: datetime) -> int:
        failures = self._failures.get(key, deque())
        while failures and failures[0] < now - WINDOW:
            failures.popleft()
        return len(failures)


guesses = Guesses()
