"""Bearer tokens of an OpenID Connect provider: made and signed here by hand, without PyJWT."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.api_keys import add_key
from service.app import create_app
from service.background.signing_keys import SigningKeys
from service.bearer_tokens import Provider
from service.problems import Unauthorized, Unavailable
from service.settings import Settings
from stconv.errors import ConfigError
from waiting import until

AUDIENCE = "forecasts"
WRONG = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def encoded(raw: bytes | int) -> str:
    if isinstance(raw, int):
        raw = raw.to_bytes((raw.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(claims: dict, key=None, **header) -> str:
    """A token signed with RSA (RFC 7518, 3.3), ECDSA (3.4), or as its header says."""
    ecdsa = isinstance(key, ec.EllipticCurvePrivateKey)
    header = {"alg": "ES256" if ecdsa else "RS256", "typ": "JWT"} | header
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    if key is None:
        signature = b""
    elif isinstance(key, bytes):
        signature = hmac.digest(key, signed.encode(), hashlib.sha256)
    elif ecdsa:
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{encoded(signature)}"


def published(key, key_id: str) -> dict:
    """A public key as the provider shows it (RFC 7518, 6.2 and 6.3)."""
    numbers = key.public_key().public_numbers()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = {"x": encoded(numbers.x.to_bytes(32, "big")), "y": encoded(numbers.y.to_bytes(32, "big"))}
        return {"kty": "EC", "crv": "P-256", "kid": key_id, "use": "sig", **point}
    return {"kty": "RSA", "kid": key_id, "use": "sig", "n": encoded(numbers.n), "e": encoded(numbers.e)}


@pytest.fixture(scope="module")
def keys():
    return {
        "old": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "new": ec.generate_private_key(ec.SECP256R1()),
    }


@pytest.fixture
def provider(keys):
    """A provider over real HTTP; what it publishes can be changed."""
    shown = SimpleNamespace(keys=[published(keys["old"], "old")], status=200, issuer=None, asked=0)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            shown.asked += 1
            if self.path == "/.well-known/openid-configuration":
                found = {"issuer": shown.issuer or shown.address, "jwks_uri": f"{shown.address}/keys"}
            else:
                found = {"keys": shown.keys}
            self.send_response(shown.status)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    shown.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield shown
    server.shutdown()
    server.server_close()


@pytest.fixture
def app(provider, tmp_path):
    """Routes without worker processes, and without the task that reads the keys."""
    path = tmp_path / "keys.json"
    secret = add_key(path, "maps", ("read",))
    app = create_app(
        Settings(host="0.0.0.0", keys_file=path, oidc_issuer=provider.address, oidc_audience=AUDIENCE)
    )
    app.state.secret = secret
    return app


def claims(provider, **other) -> dict:
    ends = int(time.time()) + 600
    return {
        "iss": provider.address,
        "aud": AUDIENCE,
        "sub": "ada",
        "exp": ends,
        "scope": "stconv:read",
    } | other


async def read_until(tokens, wanted) -> SigningKeys:
    reading = SigningKeys(tokens)
    task = asyncio.create_task(reading.run())
    while not wanted(reading):
        await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return reading


def read_keys(app) -> None:
    tokens = app.state.key_ring.tokens
    asyncio.run(read_until(tokens, lambda _: tokens.keys is not None))


def ask(app, given, method="GET", path="/v1/models"):
    return TestClient(app).request(method, path, headers={"Authorization": f"Bearer {given}"})


def test_a_token_is_admitted_with_its_scopes_beside_the_keys(app, provider, keys):
    read_keys(app)
    good = token(claims(provider), keys["old"], kid="old")
    assert ask(app, good).status_code == 200
    assert ask(app, app.state.secret).status_code == 200
    refused = ask(app, good, "POST", "/v1/forecasts?model=air")
    assert refused.status_code == 403
    assert refused.json()["detail"] == "The request needs the scope 'forecast'; this key has read."
    forecasts = token(claims(provider, scope="openid stconv:read stconv:forecast"), keys["old"], kid="old")
    assert ask(app, forecasts, "POST", "/v1/forecasts?model=air").status_code != 403
    none = ask(app, token(claims(provider, scope="openid read"), keys["old"], kid="old"))
    assert (none.status_code, none.json()["detail"]) == (
        403,
        "The request needs the scope 'read'; this key has none.",
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"exp": 1_000_000_000}, "Signature has expired"),
        ({"aud": "another service"}, "Audience doesn't match"),
        ({"aud": None}, "aud"),
        ({"iss": "https://elsewhere.example"}, "Invalid issuer"),
        ({"sub": None}, "sub"),
        ({"nbf": 9_000_000_000}, "not yet valid"),
    ],
)
def test_claims_that_are_not_for_this_service_are_refused(app, provider, keys, changed, says):
    read_keys(app)
    made = {name: value for name, value in claims(provider, **changed).items() if value is not None}
    answer = ask(app, token(made, keys["old"], kid="old"))
    assert answer.status_code == 401
    assert says in answer.json()["detail"]
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_forged_tokens_are_refused(app, provider, keys):
    read_keys(app)
    mine = claims(provider, scope="stconv:admin")
    public = (
        keys["old"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    good = token(mine, keys["old"], kid="old")
    forged = {
        "another's key": token(mine, WRONG, kid="old"),
        "no signature": token(mine, alg="none", kid="old"),
        "the public key as a secret": token(mine, public, alg="HS256", kid="old"),
        "an unknown key": token(mine, WRONG, kid="mine"),
        "a key that it brings": token(mine, WRONG, jwk=published(WRONG, "old"), kid="old"),
        "changed claims": ".".join(
            [good.split(".")[0], encoded(json.dumps(mine | {"sub": "eve"}).encode()), good.split(".")[2]]
        ),
        "no JSON": "eyJhIjo.eyJh.AAAA",
        "very long": good + "A" * 9000,
    }
    answers = {how: ask(app, made) for how, made in forged.items()}
    assert {how: answer.status_code for how, answer in answers.items()} == dict.fromkeys(forged, 401)
    assert all("The bearer token is not accepted: " in answer.json()["detail"] for answer in answers.values())


def test_new_signing_keys_are_read_and_old_ones_end(app, provider, keys):
    read_keys(app)
    tokens = app.state.key_ring.tokens
    new = token(claims(provider), keys["new"], kid="new")
    with pytest.raises(Unauthorized, match="names no signing key of the provider that is known here"):
        tokens.verify(new)
    assert tokens.unknown_key  # the reason to read them again
    provider.keys = [published(keys["new"], "new"), {"kty": "unknown", "kid": "odd"}]
    asyncio.run(read_until(tokens, lambda _: "new" in tokens.keys))
    assert ask(app, new).status_code == 200
    assert ask(app, token(claims(provider), keys["old"], kid="old")).status_code == 401


def test_subjects_have_their_own_jobs_and_quotas_and_one_subject_has_one(app, provider, keys):
    read_keys(app)
    tokens = app.state.key_ring.tokens

    def verified(**other):
        return tokens.verify(token(claims(provider, **other), keys["old"], kid="old"))

    assert verified().sha256 == verified(exp=int(time.time()) + 60, scope="stconv:admin").sha256
    assert verified().sha256 != verified(sub="eve").sha256
    assert verified(sub="eve").said == "eve"


def test_roles_in_a_nested_claim(provider, keys, app):
    read_keys(app)
    tokens = app.state.key_ring.tokens
    tokens.provider = Provider(provider.address, AUDIENCE, "realm_access.roles", "grid-")
    made = claims(provider, realm_access={"roles": ["grid-read", "grid-admin", "offline"]})
    assert tokens.verify(token(made, keys["old"], kid="old")).scopes == ("read", "admin")
    assert tokens.verify(token(claims(provider), keys["old"], kid="old")).scopes == ()


def test_keys_of_the_service_work_while_the_provider_does_not_answer(app, provider, keys):
    provider.status = 500
    tokens = app.state.key_ring.tokens
    good = token(claims(provider), keys["old"], kid="old")
    reading = asyncio.run(read_until(tokens, lambda reading: reading.problem is not None))
    assert reading.problem == "the signing keys of the token provider cannot be read"
    with pytest.raises(Unavailable, match="could not be read yet"):
        tokens.verify(good)
    refused = ask(app, good)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert ask(app, app.state.secret).status_code == 200


def test_a_provider_with_another_name_is_not_believed(app, provider, caplog):
    provider.issuer = "https://elsewhere.example"
    asyncio.run(read_until(app.state.key_ring.tokens, lambda reading: reading.problem is not None))
    assert app.state.key_ring.tokens.keys is None
    assert "is of the issuer 'https://elsewhere.example'" in caplog.text


def test_a_server_reads_the_keys_and_says_so_in_its_document(provider, keys, tmp_path):
    settings = Settings(oidc_issuer=provider.address, oidc_audience=AUDIENCE, state=tmp_path / "state")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        headers = {"Authorization": f"Bearer {token(claims(provider), keys['old'], kid='old')}"}
        until(lambda: client.get("/v1/models", headers=headers).status_code == 200)
        assert client.get("/v1/models").status_code == 401
        document = client.get("/openapi.json").json()
        scheme = document["components"]["securitySchemes"]["openid"]
        assert scheme["openIdConnectUrl"] == f"{provider.address}/.well-known/openid-configuration"
        assert {"openid": []} in document["paths"]["/v1/models"]["get"]["security"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"oidc_issuer": "https://id.example"}, "belong together. Set STCONV_SERVE_OIDC_ISSUER and"),
        ({"oidc_audience": "forecasts"}, "belong together"),
    ],
)
def test_half_a_provider_is_refused(settings, says):
    with pytest.raises(ValidationError, match=says):
        Settings(**settings)


def test_a_provider_without_https_is_refused():
    with pytest.raises(ConfigError, match=r"is 'http://id.example'; expected one that begins with https://"):
        Settings(oidc_issuer="http://id.example", oidc_audience=AUDIENCE)


def test_without_pyjwt_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr("service.bearer_tokens.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'stconv\[oidc\]'"):
        Settings(oidc_issuer="https://id.example", oidc_audience=AUDIENCE)
