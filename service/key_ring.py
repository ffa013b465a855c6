"""The keys that a server accepts now: those of its settings, of a file that may change, and tokens."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable
from pathlib import Path

from service.api_keys import ApiKey, hash_of, read_file
from service.bearer_tokens import BearerTokens, Provider, is_token
from stconv.errors import ConfigError

log = logging.getLogger(__name__)


class KeyRing:
    """The accepted keys; the file is read again when it has changed, so that no restart is needed.

    Args:
        given: Keys of the settings.
        path: File of further keys, written by `stconv key`; None for no file.
        provider: Provider of bearer tokens; None for none.

    Raises:
        ConfigError: The file cannot be read.
    """

    def __init__(self, given: Iterable[ApiKey], path: Path | None, provider: Provider | None = None) -> None:
        self._given, self._path = tuple(given), path
        self._stamp = None if path is None else _stamp(path)
        self._stored = () if path is None else tuple(read_file(path))
        self.tokens = None if provider is None else BearerTokens(provider)
        """Verifies bearer tokens; None if none are accepted."""
        self.required = path is not None or bool(self._given) or provider is not None
        """Whether requests need a key; a file whose last key was removed opens nothing."""

    def find(self, given: str) -> ApiKey | None:
        """Return the key that a credential is, also one that has ended; None if it is not accepted.

        Hashes are compared in constant time, with all keys.

        Raises:
            Unauthorized: It is a token, and not a valid one.
            Unavailable: It is a token, and the provider's signing keys could not be read yet.
        """
        if self.tokens is not None and is_token(given):
            return self.tokens.verify(given)
        digest = hash_of(given)
        matches = [key for key in self.accepted() if hmac.compare_digest(digest, key.sha256)]
        return matches[0] if matches else None

    def accepted(self) -> tuple[ApiKey, ...]:
        """All accepted keys, also those that have ended; while the file cannot be read, those it had."""
        if self._path is not None and (stamp := _stamp(self._path)) != self._stamp:
            self._stamp = stamp  # so that a fault is logged once
            try:
                self._stored = tuple(read_file(self._path))
                log.info("the file of API keys has changed; it holds %d keys", len(self._stored))
            except ConfigError as error:
                log.error("the API keys stay as they were: %s", error)
        return self._given + self._stored


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
