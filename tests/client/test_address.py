"""URLs of dispatchers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.client.address import DEFAULT_URL, Address, parse_url, url_of
from ygg.client.errors import WrongSettings
from ygg.fleet import DispatcherSettings

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://surtr:8765", {"host": "surtr", "port": 8765, "name": "surtr:8765"}),
        ("http://surtr:8765/", {"host": "surtr", "port": 8765, "name": "surtr:8765"}),
        ("surtr:8765", {"host": "surtr", "port": 8765, "name": "surtr:8765"}),
        ("http://surtr", {"host": "surtr", "port": 80, "name": "surtr"}),
        ("https://surtr", {"host": "surtr", "port": 443, "name": "surtr", "tls": True}),
        ("http://[::1]:9", {"host": "::1", "port": 9, "name": "[::1]:9"}),
        ("https://a.b/ygg/", {"host": "a.b", "port": 443, "name": "a.b", "tls": True,
                              "prefix": "/ygg"}),
        ("unix:/run/ygg.sock", {"socket": "/run/ygg.sock"}),
        ("unix:///run/ygg.sock", {"socket": "/run/ygg.sock"}),
        ("unix:ygg.sock", {"socket": "ygg.sock"}),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(url: str, expected: dict[str, object]) -> None:
    address = parse_url(url)
    fields = ("socket", "host", "port", "tls", "name", "prefix")
    whole = {"socket": None, "host": "", "port": 0, "tls": False, "name": "localhost", "prefix": ""}
    assert {name: getattr(address, name) for name in fields} == whole | expected


@pytest.mark.parametrize(
    "url",
    [
        "", "http://", "ftp://surtr:1", "http://surtr:port", "http://surtr:99999", "unix:",
        "http://surtr:1/?a=b", "http://surtr:1/#a", "http://[::1", "http://sur tr:1",
        "http://surtr:1/a b", "http://sürtr:1", "unix:/a\0b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(WrongSettings, match=r"http://127\.0\.0\.1:8765"):
        parse_url(url)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(WrongSettings, match="YGG_TOKEN") as told:
        parse_url("http://me:secret@surtr:8765")
    assert "secret" not in str(told.value)


@given(st.text())
def test_every_text_is_an_address_or_is_refused(text: str) -> None:
    try:
        address = parse_url(text)
    except WrongSettings:
        return
    assert isinstance(address, Address)
    assert address.socket or (address.host and 0 <= address.port < 65536)


def test_the_default_is_where_a_dispatcher_listens_by_default() -> None:
    assert f"http://{DispatcherSettings().listen[0]}" == DEFAULT_URL


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("127.0.0.1:0", "http://127.0.0.1:8765"),
        ("unix:/run/ygg.sock tower:1", "http://tower:1"),
        ("unix:/run/ygg.sock", "unix:/run/ygg.sock"),
    ],
)
def test_where_a_dispatcher_is_found_that_listens_there(listen: str, url: str) -> None:
    assert url_of(listen.split()) == url
