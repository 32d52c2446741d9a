"""What a failed call to the server means: whether to try again, how long to wait, and the error it ends in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from annotator.errors import AnnotatorError, InputError, MissingError, StorageError, expected
from annotator.extras import need

# A refused request was not looked at, so sending it again does no harm, whatever it asks for.
REFUSED = (429, 503)
SHOWN = 300
UP = "annotator label up starts one here; ANNOTATOR_LABEL_URL and ANNOTATOR_LABEL_TOKEN name another"
TAKE_TOKEN = "take a token from Account & Settings there, and set ANNOTATOR_LABEL_TOKEN to it"
AGAIN = "nothing is lost: run the same command again"


@dataclass(frozen=True)
class Pauses:
    """How patient to be.

    Attributes:
        attempts: calls at most, the first included.
        first: pause after the first failure, in seconds; each further one is twice as long.
        longest: no pause is longer, whatever the server asks for.
        answer: how long an answer may take, in seconds.
        batch: how long the answer to a batch of tasks may take: it is checked and written in one transaction.
        sleep: what waits.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 60.0
    answer: float = 60.0
    batch: float = 600.0
    sleep: Callable[[float], None] = time.sleep

    def seconds(self) -> Iterator[float]:
        """Pause after each attempt but the last.

        >>> list(Pauses(attempts=5, longest=3.0).seconds())
        [0.5, 1.0, 2.0, 3.0]
        """
        for attempt in range(self.attempts - 1):
            yield min(self.first * 2**attempt, self.longest)


@dataclass(frozen=True)
class Trouble:
    """Why a call failed.

    Attributes:
        status: the answer's status code, 0 where there was no answer.
        what: in words, one line.
        arrived: the server may have done what was asked.
        again: another attempt may succeed.
        wait: seconds the server asked to wait, or None.
    """

    status: int
    what: str
    arrived: bool
    again: bool
    wait: float | None = None

    def error(self, asked: str, url: str, attempts: int) -> AnnotatorError:
        """The error that the command ends in. `asked` says what was asked for."""
        times = f" ({attempts} attempts)" if attempts > 1 else ""
        if not self.arrived and not self.status:
            return MissingError(f"{expected('a Label Studio server', self.what + times, url)}: {UP}")
        if self.status in (401, 403):
            return MissingError(f"{expected(f'leave to read or write {asked}', self.what, url)}: {TAKE_TOKEN}")
        if self.again:
            return StorageError(f"{expected(f'an answer about {asked}', self.what + times, url)}: {AGAIN}")
        return InputError(expected(f"an answer about {asked}", self.what, url))


def classify(error: Exception) -> Trouble | None:
    """Say what an error of the SDK or of its transport means; None for one that is neither's."""
    httpx = need("httpx", "label", "Labelling needs httpx")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Trouble(0, _plain(error), arrived=False, again=True)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return Trouble(0, "an address that is none", arrived=True, again=False)
    if isinstance(error, httpx.HTTPStatusError):
        answer = error.response
        return _answered(answer.status_code, answer.headers, _parsed(answer))
    if isinstance(error, httpx.TransportError):
        return Trouble(0, _plain(error), arrived=True, again=True)
    if isinstance(error, httpx.HTTPError):
        return Trouble(0, _plain(error), arrived=True, again=False)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):  # the SDK's ApiError and its kin
        return _answered(status, getattr(error, "headers", None) or {}, getattr(error, "body", None))
    if isinstance(error, ValueError) and type(error).__name__ == "JSONDecodeError":
        return Trouble(200, "an answer that is not Label Studio's", arrived=True, again=False)
    return None


def _answered(status: int, headers: Mapping[str, str], body: Any) -> Trouble:
    if status < 400:
        return Trouble(status, "an answer that is not Label Studio's", arrived=True, again=False)
    lower = {str(name).lower(): value for name, value in headers.items()}
    again = status >= 500 or status in (408, 429)
    words = _words(body)
    what = f"{status}: {words}" if words else str(status)
    return Trouble(status, what, status not in REFUSED, again, _wait(lower.get("retry-after")))


def _wait(asked: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, which has a number or a date.

    >>> _wait("7"), _wait("Wed, 21 Oct 2015 07:28:00 GMT"), _wait("soon"), _wait(None)
    (7.0, 0.0, None, None)
    """
    if asked is None:
        return None
    if asked.strip().isdecimal():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return None


def _words(body: Any) -> str:
    """What an answer says went wrong, short, on one line; nothing of a page of HTML."""
    if isinstance(body, Mapping):
        said = [body.get("detail"), body.get("validation_errors")]
        body = ", ".join(str(part) for part in said if part) or str(dict(body))
    text = " ".join(str(body or "").split())
    return "" if text.startswith("<") else text[:SHOWN]


def _parsed(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__
