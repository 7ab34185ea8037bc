"""Pages as other programs print them: recorded ones, and the dispatcher's with numbers of a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"


def exporter(name: str) -> str:
    return (DATA / "exporters" / f"{name}.txt").read_text()


def server(name: str) -> str:
    return (DATA / "servers" / f"{name}.txt").read_text()


def ours(util: float = 0.4, used: float = 6e9, *, total: float = 8e9, gpu: str = "0") -> str:
    """`ygg-gpu-exporter`'s, of one card."""
    card = f'{{gpu="{gpu}",mig="",name="NVIDIA L4",uuid="GPU-{gpu}"}}'
    return (
        "ygg_gpu_up 1.0\n"
        f"ygg_gpu_utilization_ratio{card} {util}\n"
        f"ygg_gpu_memory_used_bytes{card} {used}\n"
        f"ygg_gpu_memory_free_bytes{card} {total - used}\n"
        f"ygg_gpu_memory_total_bytes{card} {total}\n"
        "ygg_gpu_read_failures_total 3.0\n"
    )


def dispatcher(host: str = "h", given: Mapping[str, float] | None = None, **changes: float) -> str:
    """One host's lines; names without what all begin with."""
    values: dict[str, float] = {
        "slots_limit": 2, "slots_min": 1, "slots_max": 4, "slots_active": 2, "slots_pinned": 0,
        "up": 1, "paused": 0, "demand_tasks": 3, "oldest_wait_seconds": 70.5,
        **(given or {}), **changes,
    }  # fmt: skip
    lines = [f'ygg_host_{name}{{host="{host}"}} {float(value)}' for name, value in values.items()]
    return "# HELP ygg_host_up Whether.\n# TYPE ygg_host_up gauge\n" + "\n".join(lines) + "\n"
