"""What Prometheus is to scrape, out of hosts.yaml."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.addresses import parse_host_port
from ygg.hostsfile import parse_fleet
from ygg.targets import NoTarget, as_file, targets_of

pytestmark = pytest.mark.pure

HOST = "a: {url: 'http://a:11434'}"
NO_EXPORTER = "gpu: {exporter: off}"


def targets(text: str, **given: object) -> list[tuple[str, dict[str, str]]]:
    """Of each target its address and labels, as Prometheus reads them."""
    found = json.loads(as_file(targets_of(parse_fleet(text, "hosts.yaml"), **given)))  # type: ignore[arg-type]  # any of its flags
    assert all(group.keys() == {"targets", "labels"} for group in found)
    return [(address, group["labels"]) for group in found for address in group["targets"]]


def exporters(hosts: str) -> list[tuple[str, dict[str, str]]]:
    found = [one for one in targets(f"hosts: {{{hosts}}}") if one[1]["job"] == "ygg-gpu"]
    for _, labels in found:
        del labels["job"]
    return found


def test_the_three_parts_are_where_hosts_yaml_says() -> None:
    assert targets(f"hosts: {{{HOST}}}") == [
        ("127.0.0.1:8765", {"job": "ygg"}),
        ("127.0.0.1:8766", {"job": "ygg-autoscaler"}),
        ("a:9836", {"job": "ygg-gpu", "host": "a"}),
    ]
    text = (
        f"hosts: {{{HOST}}}\ndispatcher: {{listen: ['unix:/run/y.sock', '10.0.0.1:1'], "
        "token_from: env:T}\nautoscaler: {listen: '10.0.0.1:2'}"
    )
    assert [address for address, _ in targets(text)] == ["10.0.0.1:1", "10.0.0.1:2", "a:9836"]


def test_what_listens_everywhere_is_asked_on_this_machine() -> None:
    text = (
        f"hosts: {{{HOST}}}\ndispatcher: {{listen: '0.0.0.0:1', token_from: env:T}}\n"
        "autoscaler: {listen: '[::]:2'}"
    )
    assert [address for address, _ in targets(text)][:2] == ["localhost:1", "localhost:2"]


def test_an_address_that_is_given_goes_before_the_file() -> None:
    found = targets(f"hosts: {{{HOST}}}", dispatcher="tower:1", autoscaler="[fd00::1]:2")
    assert [address for address, _ in found][:2] == ["tower:1", "[fd00::1]:2"]


def test_an_autoscaler_within_the_dispatcher_is_no_target() -> None:
    found = targets(f"hosts: {{{HOST}}}", with_autoscaler=False)
    assert [labels["job"] for _, labels in found] == ["ygg", "ygg-gpu"]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (f"a: {{url: 'http://a:1', {NO_EXPORTER}}}", []),
        ("a: {url: 'http://[::1]:1', gpu: {port: 9}}", [("[::1]:9", {"host": "a"})]),
        (
            "a: {url: 'http://a:1', gpu: {exporter: 'https://b/x/metrics?collect=gpu', device: 1}}",
            [("b:443", {
                "host": "a", "device": "1", "__scheme__": "https",
                "__metrics_path__": "/x/metrics", "__param_collect": "gpu",
            })],
        ),
        (
            "a: {url: 'http://a:1', gpu: {exporter: 'http://a:9400'}}",
            [("a:9400", {"host": "a", "__metrics_path__": "/"})],
        ),
        (
            "a: {url: 'http://m:1', gpu: {device: 0}}, b: {url: 'http://m:2', gpu: {device: 1}}",
            [("m:9836", {"host": "a", "device": "0"}), ("m:9836", {"host": "b", "device": "1"})],
        ),
        # On one card it is that of the host with the slots.
        (
            "a: {url: 'http://a:1', gpu: {port: 9, device: 2}}, b: {url: 'http://b:1', shares: a}",
            [("a:9", {"host": "a", "device": "2"}), ("a:9", {"host": "b", "device": "2"})],
        ),
        (f"a: {{url: 'http://a:1', {NO_EXPORTER}}}, b: {{url: 'http://b:1', shares: a}}", []),
    ],
)  # fmt: skip
def test_an_exporter_is_a_target_of_each_host_that_it_shows(
    hosts: str, expected: list[tuple[str, dict[str, str]]]
) -> None:
    assert exporters(hosts) == expected


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("dispatcher: {listen: 'unix:/run/y.sock'}", r"unix:/run/y.sock only.*add a HOST:PORT"),
        ("dispatcher: {listen: '127.0.0.1:0'}", r"dispatcher: listen.*--dispatcher HOST:PORT"),
        ("autoscaler: {listen: '127.0.0.1:0'}", r"autoscaler: listen.*--autoscaler HOST:PORT"),
    ],
)
def test_a_part_that_nobody_can_ask_is_told_with_the_way_out(more: str, why: str) -> None:
    with pytest.raises(NoTarget, match=rf"^hosts\.yaml: .*{why}"):
        targets(f"hosts: {{{HOST}}}\n{more}")


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True),
        st.tuples(
            st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,9})?", fullmatch=True), st.integers(1, 65535),
            st.none() | st.integers(0, 15),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_every_host_has_one_target_with_its_name_and_all_labels_are_apart(
    hosts: dict[str, tuple[str, int, int | None]],
) -> None:
    text = ", ".join(
        f"'{name}': {{url: 'http://{machine}:1', gpu: {{port: {port}"
        f"{'' if device is None else f', device: {device}'}}}}}"
        for name, (machine, port, device) in hosts.items()
    )
    found = exporters(text)
    assert [labels["host"] for _, labels in found] == list(hosts)
    for address, labels in found:
        machine, port, device = hosts[labels["host"]]
        assert parse_host_port(address) == parse_host_port(f"{machine}:{port}")
        assert labels.get("device") == (None if device is None else str(device))
    # Prometheus takes two targets with the same labels for one.
    assert len({(address, *sorted(labels.items())) for address, labels in found}) == len(found)
