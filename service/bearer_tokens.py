"""Bearer tokens of an OpenID Connect provider, verified by PyJWT with the provider's published keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from service.api_keys import SCOPES, ApiKey, hash_of
from service.problems import Unauthorized, Unavailable
from stconv.errors import ConfigError

if TYPE_CHECKING:
    from jwt import PyJWK

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a public key; those with a shared secret, and none, are refused (RFC 8725, 3.1)."""
REQUIRED = ("exp", "iss", "aud", "sub")
LEEWAY_SECONDS = 10
"""Difference between the provider's clock and ours that is tolerated, s."""
MOST_LETTERS = 8192


@dataclass(frozen=True)
class Provider:
    """A provider of tokens.

    Attributes:
        issuer: Its address, equal to the claim `iss` of its tokens.
        audience: Name of this service with the provider; the claim `aud` must hold it.
        claim: Claim with the scopes: a text with spaces between them or a list; dots lead into objects.
        prefix: Beginning of the scopes that are meant for this service.

    Raises:
        ConfigError: PyJWT is not installed, or the address is not HTTPS and not on this machine.
    """

    issuer: str
    audience: str
    claim: str = "scope"
    prefix: str = "stconv:"

    @property
    def document(self) -> str:
        """Address of the provider's document (OpenID Connect Discovery 1.0, 4)."""
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"

    def __post_init__(self) -> None:
        if find_spec("jwt") is None or find_spec("cryptography") is None:
            raise ConfigError("Tokens of OpenID Connect need PyJWT: pip install 'stconv[oidc]'.")
        check_address(self.issuer, "The address of the token provider")


def check_address(address: str, what: str) -> None:
    """Refuse an address whose answers somebody on the way could change.

    Raises:
        ConfigError: It is neither HTTPS nor on this machine.
    """
    parts = urlsplit(address)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in LOOPBACK):
        raise ConfigError(f"{what} is '{address}'; expected one that begins with https://.")


class BearerTokens:
    """Verifies tokens; `keys` are the provider's signing keys by their id, and change while the server runs.

    Args:
        provider: Provider of the tokens.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.keys: Mapping[str | None, PyJWK] | None = None
        self.unknown_key = False
        """Whether a token named a key that was not known: a reason to read the keys again."""

    def verify(self, token: str) -> ApiKey:
        """Return the key that a token stands for: its subject, its scopes and its end.

        The limits are those of the server. All tokens of one subject count together, and share their jobs.

        Raises:
            Unauthorized: The token is not a valid one of this provider for this service.
            Unavailable: The keys of the provider could not be read yet.
        """
        import jwt

        if self.keys is None:
            raise Unavailable(
                "The signing keys of the token provider could not be read yet. Try again.",
                retry_after_seconds=5,
            )
        if len(token) > MOST_LETTERS:
            raise _refusal(f"it has {len(token)} letters; at most {MOST_LETTERS} are accepted")
        try:
            key = self._signing_key(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self.provider.issuer,
                audience=self.provider.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": list(REQUIRED)},
            )
        except jwt.InvalidTokenError as error:
            raise _refusal(str(error)) from error
        return self._as_key(claims)

    def _signing_key(self, header: Mapping[str, Any]) -> PyJWK:
        assert self.keys is not None
        key_id = header.get("kid")
        if key_id is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        if key_id not in self.keys:
            self.unknown_key = True
            raise _refusal("it names no signing key of the provider that is known here")
        return self.keys[key_id]

    def _as_key(self, claims: Mapping[str, Any]) -> ApiKey:
        found: Any = claims
        for name in self.provider.claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        named = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        subject = str(claims["sub"])
        return ApiKey(
            hash_of(f"{self.provider.issuer}\0{subject}"),
            tuple(scope for scope in SCOPES if self.provider.prefix + scope in named),
            name=subject[:100],
            expires=datetime.fromtimestamp(claims["exp"] + LEEWAY_SECONDS, UTC).isoformat(),
        )


def is_token(given: str) -> bool:
    """Whether a credential has the form of a signed token: a JSON object in base64, and two parts more."""
    return given.startswith("eyJ") and given.count(".") == 2


def _refusal(why: str) -> Unauthorized:
    return Unauthorized(
        f"The bearer token is not accepted: {why}. Get another one from the provider.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
