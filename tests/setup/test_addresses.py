"""What is typed for a server becomes addresses to ask, or is refused with what to write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.hostsfile import parse_fleet
from ygg.setup.addresses import NoAddress, addresses
from ygg.setup.writing import scalar

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("http://fenrir:11434", ["http://fenrir:11434"]),
        ("http://fenrir:11434/", ["http://fenrir:11434"]),
        ("http://fenrir:8080/v1/", ["http://fenrir:8080"]),
        ("fenrir:11434", ["http://fenrir:11434"]),
        ("https://Models.Example/team/v1", ["https://models.example/team"]),
        ("http://fenrir:80", ["http://fenrir"]),
        ("http://[::1]:11434", ["http://[::1]:11434"]),
        ("fenrir", ["http://fenrir:11434", "http://fenrir:8080", "http://fenrir:8000"]),
        ("10.0.0.7", ["http://10.0.0.7:11434", "http://10.0.0.7:8080", "http://10.0.0.7:8000"]),
        ("http://fenrir", ["http://fenrir"]),
    ],
)
def test_an_address_is_understood(given: str, urls: list[str]) -> None:
    assert addresses(given) == urls


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ftp://fenrir", "write http://HOST:PORT"),
        ("http://", "write http://HOST:PORT"),
        ("http://fenrir:99999", "write http://HOST:PORT"),
        ("http://fenrir:0", "write http://HOST:PORT"),
        ("http://fen rir", "write http://HOST:PORT"),
        ("http://fenrir?x=1", "write the root"),
        ("", "write http://HOST:PORT"),
    ],
)
def test_what_is_none_is_refused_with_what_to_write(given: str, said: str) -> None:
    with pytest.raises(NoAddress, match=said):
        addresses(given)


def test_a_password_in_it_is_not_repeated() -> None:
    with pytest.raises(NoAddress, match="--key env:NAME") as refused:
        addresses("http://me:hunter2@fenrir:8000")
    assert "hunter2" not in str(refused.value)


@given(st.text(max_size=40) | st.from_regex(r"(https?://)?[a-z.:/\[\]0-9 _-]{0,30}(:\d{1,5})?",
                                            fullmatch=True))  # fmt: skip
def test_every_address_taken_is_one_that_hosts_yaml_takes(text: str) -> None:
    try:
        urls = addresses(text)
    except NoAddress:
        return
    for url in urls:
        fleet = parse_fleet(f"hosts: {{h: {{url: {scalar(url)}}}}}", "hosts.yaml")
        assert fleet.hosts["h"].url == url
        assert addresses(url) == [url], "and it stays the same"
