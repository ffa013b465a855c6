"""Messages without passwords."""

import pytest

from stconv.passwords import without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://me:se/c:ret@host:5432/db: refused", "at postgresql://me:***@host:5432/db: refused"),
        ("redis://:secret@host", "redis://:***@host"),
        ("http://a:1@b and http://c:2@d", "http://a:***@b and http://c:***@d"),
        ("http://host:5000/path, me@host", "http://host:5000/path, me@host"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
    ],
)
def test_the_password_of_an_address_is_not_shown(text, shown):
    assert without_password(text) == shown
