"""What `ygg init` says of a plan: for people, what is to be done next; for scripts, all of it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ygg import printing
from ygg.fleet import BUILT_IN_TYPES
from ygg.setup.proposal import Host, Plan
from ygg.tasks import Json
from ygg.yamlreader import near


def plan_lines(plan: Plan, path: Path, variables: Collection[str]) -> list[str]:
    """`variables`: those that the environment has; a key may be in one of them."""
    rows = [
        [h.name, h.url, h.what, h.model or "(none)", f"{h.slots}..{h.slots_max}",
         ", ".join(h.types) or "-"]
        for h in plan.hosts
    ]  # fmt: skip
    lines = [printing.table(["HOST", "URL", "SERVER", "MODEL", "SLOTS", "FOR"], rows), ""]
    lines.append(f"{path} is written. Next:")
    for host in plan.hosts:
        kind, _, name = (host.key or "").partition(":")
        if kind == "env" and name not in variables:
            lines.append(f"  export {name}=...  # the key of {host.name}")
        if host.model is None:
            lines.append(f"  # write `model:` of {host.name} into {path} once it has one")
    made = {type_ for host in plan.hosts for type_ in host.types} - BUILT_IN_TYPES.keys()
    lines += [
        f"  # {name} is a type of your own, given with --type {name} or a label; "
        f"{near(name, BUILT_IN_TYPES)}"
        for name in sorted(made)
    ]
    where = "" if path == Path("hosts.yaml") else f" --hosts {path}"
    return [*lines, f"  ygg doctor{where}", f"  ygg loop --async{where}"]


def plan_json(plan: Plan) -> dict[str, Json]:
    return {
        "hosts": [_host(host) for host in plan.hosts],
        "types": {type_: [str(option) for option in run] for type_, run in plan.routes.items()},
    }


def _host(host: Host) -> dict[str, Json]:
    gpu = host.gpu
    return {
        "name": host.name,
        "url": host.url,
        "server": host.what,
        "api": host.api,
        "model": host.model,
        "others": list(host.others),
        "types": dict(host.types),
        "slots": {"start": host.slots, "max": host.slots_max, "reason": host.slots_reason},
        "key": host.key,
        "gpu": {"memory": gpu.memory, "exporter": gpu.exporter, "reasons": list(gpu.reasons)},
    }
