"""hosts.yaml -> Fleet: how the keys are read, and every mistake with its line.

Pure but for `read_text`, which reads the one file. The keys there are, and what they mean, are
hostskeys.py; how YAML is read is yamlreader.py; the types are typesfile.py, a Beads project
beadsfile.py, the autoscaler's constants autoscalerfile.py. Whether a host answers, a folder exists or a key is where it should
be is asked when they are used.

Relative paths of the file are relative to its folder, wherever ygg is started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, urlunsplit

import yaml

from ygg.autoscalerfile import AUTOSCALER_KEYS, read_autoscaler
from ygg.beadsfile import read_beads
from ygg.dispatcherfile import read_dispatcher, read_reference
from ygg.fleet import Fleet, GpuSettings, HostSettings, SlotSettings
from ygg.hosts.base import Api
from ygg.hostskeys import (
    BEADS_KEYS,
    DISPATCHER_KEYS,
    GPU_KEYS,
    HOST_KEYS,
    RETENTION_KEYS,
    SHARED_KEYS,
    SLOT_KEYS,
    TOP_KEYS,
    TYPE_KEYS,
)
from ygg.typesfile import NAME, NAME_REMEDY, read_types
from ygg.yamlreader import CHARACTERS_MAX, Reader, Section, Value, short, shown
from ygg.yamlvalues import choice, flag, keep_alive, url, whole, word

_Memory: TypeAlias = Literal["nvml", "kv", "off"]

#: Beside the numbers of `slots:`, for who wants to say where the pin is.
_PIN_LINE: Final = "line of pin"
_HOMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(AUTOSCALER_KEYS, "`autoscaler:`"),
    **dict.fromkeys(BEADS_KEYS, "`beads:`"),
    **dict.fromkeys(RETENTION_KEYS, "`dispatcher: {retention: ...}`"),
    **dict.fromkeys(DISPATCHER_KEYS, "`dispatcher:`"),
    **dict.fromkeys(GPU_KEYS, "`gpu:` of a host"),
    **dict.fromkeys(SLOT_KEYS, "`slots:` of a host"),
    **dict.fromkeys(TYPE_KEYS, "a type below `types:`"),
    **dict.fromkeys(HOST_KEYS, "a host below `hosts:`"),
    **dict.fromkeys(TOP_KEYS, "the left margin"),
}
#: To YAML this is a no; to us it says that a host has none.
_NO_EXPORTER: Final = "off"
#: Our own exporter is looked for on every host, unless the file says otherwise.
_GPU_USUAL: Final = GpuSettings(port=9836)
_APIS: Final[tuple[Api, ...]] = ("ollama", "openai")
_MEMORIES: Final[tuple[_Memory, ...]] = ("nvml", "kv", "off")
#: No server runs so many at once; a limit like this is a slip.
_SLOTS_MAX: Final = 10_000
_EXAMPLE: Final = "hosts: {NAME: {url: http://HOST:11434}}"


class HostsFileError(Exception):
    """hosts.yaml can't be used. `problems` has all that is wrong, each with file, line, way out."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class HostsFileUnreadable(HostsFileError):
    """There is no such file, or none that can be read: nothing is known of what would stand in it."""


def read_fleet(path: Path) -> Fleet:
    """The fleet of a hosts.yaml. Raises HostsFileError."""
    return parse_fleet(read_text(path), str(path))


def read_text(path: Path) -> str:
    """What stands in a hosts.yaml. Raises HostsFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(CHARACTERS_MAX + 1)
    except FileNotFoundError as error:
        remedy = "`ygg init` writes one; --hosts FILE or YGG_HOSTS names another"
        raise HostsFileUnreadable([f"{path}: there is no such file; {remedy}"]) from error
    except IsADirectoryError as error:
        raise HostsFileUnreadable([f"{path}: is a folder; name the file in it"]) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name can't be one"
        remedy = "see that the user that runs ygg may read it, or name another with --hosts FILE"
        raise HostsFileUnreadable([f"{path}: can't be read: {why}; {remedy}"]) from error
    if len(data) > CHARACTERS_MAX:
        raise HostsFileError([f"{path}:1: larger than 1 MiB; settings are smaller than that"])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HostsFileError([f"{path}:{line}: not UTF-8; save the file as UTF-8"]) from error


def parse_fleet(text: str, file: str) -> Fleet:
    """The fleet that a text says. Raises HostsFileError with all that is wrong.

    Args:
        text: the whole file.
        file: its path, for messages and as the place that relative paths start from.
    """
    reader = Reader(file, text, _HOMES)
    root = reader.root()
    if root is None or root.is_null:
        if not reader.failed:
            reader.complain(1, "the file is empty", f"name a host: {_EXAMPLE}")
        raise HostsFileError(reader.problems)
    folder = Path(file).parent
    top = root.section(TOP_KEYS)
    base = _Shared()
    if "defaults" in top:
        base = _read_shared(top["defaults"].section(SHARED_KEYS), base)
    hosts = _read_hosts(top["hosts"], base, folder) if "hosts" in top else {}
    if "hosts" in top:
        if top["hosts"].is_empty:
            top["hosts"].complain("names no host", f"name one: {_EXAMPLE}")
    elif isinstance(root.node, yaml.MappingNode):
        root.complain("names no host", f"name one: {_EXAMPLE}")
    fleet = Fleet(
        file=file,
        hosts=hosts,
        types=read_types(top.get("types"), hosts, folder),
        dispatcher=read_dispatcher(top.get("dispatcher"), folder),
        beads=read_beads(top.get("beads"), folder),
        autoscaler=read_autoscaler(top.get("autoscaler")),
    )
    if reader.failed:
        raise HostsFileError(reader.problems)
    return fleet


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """What `defaults:` says, or a host over it."""

    api: Api | None = None
    model: str | None = None
    keep_alive: str | None = None
    #: Of `slots:`, what was given.
    slots: Mapping[str, int] = field(default_factory=dict)
    gpu: GpuSettings = _GPU_USUAL


def _read_shared(section: Section, base: _Shared) -> _Shared:
    return _Shared(
        api=section.read("api", choice(_APIS), base.api),
        model=section.read("model", word, base.model),
        keep_alive=section.read("keep_alive", keep_alive, base.keep_alive),
        slots=_read_slots(section["slots"], base.slots) if "slots" in section else base.slots,
        gpu=_read_gpu(section["gpu"], base.gpu) if "gpu" in section else base.gpu,
    )


def _read_slots(value: Value, base: Mapping[str, int]) -> Mapping[str, int]:
    """What is given, over what was given before. Complains of numbers that contradict."""
    section = value.section(SLOT_KEYS)
    own = {name: section.read(name, whole(1, _SLOTS_MAX), None) for name in section}
    given = {**base, **{name: number for name, number in own.items() if number is not None}}
    if "pin" in section:
        given[_PIN_LINE] = section["pin"].line
    least, most = given.get("min", 1), given.get("max")
    wrong: dict[str, str] = {}
    if most is not None and least > most:
        wrong["min"] = f"min {least} over max {most}"
    else:
        for name in ("start", "pin"):
            if name in given and given[name] < least:
                wrong[name] = f"{name} {given[name]} under min {least}"
            elif name in given and most is not None and given[name] > most:
                wrong[name] = f"{name} {given[name]} over max {most}"
    for name, what in wrong.items():
        line = section.get(name, value).line
        remedy = "make it min <= start <= max, and a pin between min and max"
        value.reader.complain(line, f"`{value.path}` has {what}", remedy)
    return given


def _slot_settings(given: Mapping[str, int]) -> SlotSettings:
    least, pin = given.get("min", 1), given.get("pin")
    start = given.get("start", least if pin is None else pin)
    return SlotSettings(
        start=start, min=least, max=given.get("max"), pin=pin, pin_line=given.get(_PIN_LINE, 0)
    )


def _read_gpu(value: Value, base: GpuSettings) -> GpuSettings:
    section = value.section(GPU_KEYS)
    if "port" in section and "exporter" in section:
        what = "has both a port and an exporter"
        section["exporter"].complain(what, "keep one: the port is that of http://HOST:PORT/metrics")
    found = replace(
        base,
        device=section.read("device", whole(0, 1023), base.device),
        memory=section.read("memory", choice(_MEMORIES), base.memory),
    )
    if "exporter" in section:
        given = section["exporter"]
        exporter = None if given.plain == _NO_EXPORTER else url(given)
        return replace(found, port=None, exporter=urlunsplit(exporter) if exporter else None)
    if "port" in section:
        port = section.read("port", whole(1, 65535), base.port)
        return replace(found, port=port, exporter=None)
    return found


def _read_hosts(value: Value, base: _Shared, folder: Path) -> dict[str, HostSettings]:
    """All hosts that have a name, also those with something wrong: types may speak of them."""
    hosts: dict[str, HostSettings] = {}
    sections: dict[str, Section] = {}
    for key, entry in value.entries():
        name = key.plain
        if not re.fullmatch(NAME, name):
            key.complain(f"has a host named {shown(name)}", NAME_REMEDY)
        section = entry.section(HOST_KEYS)
        own = _read_shared(section, base)
        if "url" not in section:
            key.complain(f"has no url for {shown(name)}", "write `url: http://HOST:PORT` below it")
        if "shares" in section and "slots" in section:
            what = "shares another's slots and has slots of its own"
            section["slots"].complain(what, "delete one of the two lines")
        hosts[name] = HostSettings(
            name=name,
            url=section.read("url", _root, ""),
            api=own.api,
            model=own.model,
            slots=SlotSettings() if "shares" in section else _slot_settings(own.slots),
            shares=section.read("shares", word, None),
            key=read_reference(section["key"], folder) if "key" in section else None,
            keep_alive=own.keep_alive,
            gpu=own.gpu,
            dry_run=section.read("dry_run", flag, False),
            line=key.line,
        )
        sections[name] = section
    sound = {
        name: section
        for name, section in sections.items()
        if "shares" not in section or _shares_well(hosts[name], hosts, section["shares"])
    }
    _check_one_semaphore_per_server(hosts, sound)
    return hosts


def _root(value: Value) -> str | None:
    """A server's root: no trailing slash, no trailing /v1."""
    parts = url(value)
    if parts is None:
        return None
    if parts.query or parts.fragment:
        value.complain("has a `?` or a `#` in it", "write the server's root: http://HOST:PORT")
        return None
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return urlunsplit(SplitResult(parts.scheme, parts.netloc.lower(), path, "", ""))


def _shares_well(host: HostSettings, hosts: Mapping[str, HostSettings], value: Value) -> bool:
    name = host.shares
    if name is None:
        return False  # complained of already
    if name == host.name:
        value.complain("is the host itself", "delete the line")
    elif name not in hosts:
        owners = [other.name for other in hosts.values() if other.shares is None]
        value.complain(f"is {shown(name)}, which is no host", value.reader.nearest(name, owners))
    elif hosts[name].shares is not None:
        what = f"is {shown(name)}, which shares slots itself"
        value.complain(what, f"name the host that has the slots: {shown(hosts[name].semaphore)}")
    else:
        return True
    return False


def _check_one_semaphore_per_server(
    hosts: Mapping[str, HostSettings], sections: Mapping[str, Section]
) -> None:
    """Two limits for one server would let in more than either says."""
    first: dict[str, HostSettings] = {}
    for name, section in sections.items():
        host = hosts[name]
        if not host.url:
            continue  # complained of already
        other = first.setdefault(_identity(host.url), host)
        if host.semaphore != other.semaphore:
            what = f"is the server of {short(other.name)}, line {other.line}, but not its slots"
            section["url"].complain(what, f"write `shares: {short(other.semaphore)}` below it")


def _identity(root: str) -> str:
    """One text for all ways to write one server's address."""
    return re.sub(r"^(http://[^/]+):80(?=/|$)|^(https://[^/]+):443(?=/|$)", r"\1\2", root)
