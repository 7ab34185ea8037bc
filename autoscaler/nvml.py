"""The cards of this machine, read through NVIDIA's own library (package nvidia-ml-py).

Each field is asked for by itself: one that the driver can't say is left out and counted, and the
others stand. A driver that is away, or lost a card, is asked again at the next reading. When it
is asked, and on which thread, is left to sampler.py: one question may block for seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import pynvml

from autoscaler.cards import Card, NoReading

T = TypeVar("T")

#: NVML error codes that make every other question useless, each with its word and the way out.
_FATAL: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "no_driver",
        (
            "no NVIDIA driver here (libnvidia-ml.so.1 is not found): install the driver, or measure "
            "the processor with --device cpu"
        ),
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "driver_not_loaded",
        "the NVIDIA driver is installed but not loaded: `modprobe nvidia`, or reboot",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "driver_upgraded",
        "the NVIDIA driver was upgraded and the old one is still loaded: reboot",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "no_permission",
        "this user may not ask the driver: let it read and write /dev/nvidiactl and /dev/nvidia*",
    ),
    pynvml.NVML_ERROR_GPU_IS_LOST: (
        "gpu_lost",
        "a GPU has fallen off the bus: look at `dmesg | grep Xid`, then reset it or reboot",
    ),
    pynvml.NVML_ERROR_UNINITIALIZED: ("uninitialised", "NVML was not initialised: asked again"),
}
#: What the clock is held down by, and its bit.
_THROTTLES: Final = {
    "power_cap": pynvml.nvmlClocksThrottleReasonSwPowerCap,
    "hardware": pynvml.nvmlClocksThrottleReasonHwSlowdown,
    "thermal_software": pynvml.nvmlClocksThrottleReasonSwThermalSlowdown,
    "thermal_hardware": pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "power_brake": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    "sync_boost": pynvml.nvmlClocksThrottleReasonSyncBoost,
    "application_clocks": pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting,
}
_CLOCKS: Final = {"sm": pynvml.NVML_CLOCK_SM, "memory": pynvml.NVML_CLOCK_MEM}
_MEGA: Final = 1_000_000.0


class Nvml:
    """All cards of this machine. Not for several threads at once."""

    def __init__(self) -> None:
        self._ready = False
        #: Fields that could not be read, by field and NVML's word for why.
        self.failures: Counter[tuple[str, str]] = Counter()
        #: Of each card, NVML's time of the last utilization sample that was taken into a mean.
        self._sampled: dict[str, int] = {}

    def read(self) -> list[Card]:
        """Raises NoReading."""
        try:
            if not self._ready:
                pynvml.nvmlInit()
                self._ready = True
            cards = list(self._cards())
        except pynvml.NVMLError as error:
            self.close()  # the next reading begins anew: that is how a driver comes back
            code = error.value
            kind, message = _FATAL.get(
                code, ("nvml", f"NVML says: {error}; look at `nvidia-smi` and the kernel log")
            )
            raise NoReading(kind, message) from error
        if not cards:
            self.close()  # one that comes back is only seen by who begins anew
            raise NoReading(
                "no_cards",
                "the NVIDIA driver has no GPU: look at `nvidia-smi -L` and `dmesg | grep -i nvrm`",
            )
        return cards

    def close(self) -> None:
        if self._ready:
            self._ready = False
            with suppress(pynvml.NVMLError):  # it is away already: nothing is left to end
                pynvml.nvmlShutdown()

    def _cards(self) -> Iterator[Card]:
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            card = self._card(handle, str(index), "")
            yield card
            yield from self._instances(handle, card)

    def _instances(self, handle: object, card: Card) -> Iterator[Card]:
        """MIG: no utilization of the card then, and memory by instance."""
        mode = self._try("", lambda: pynvml.nvmlDeviceGetMigMode(handle))
        if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return
        most = self._try("mig", lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
        for index in range(most):
            try:
                instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            except pynvml.NVMLError as error:
                if error.value == pynvml.NVML_ERROR_NOT_FOUND:
                    continue  # a gap: instances keep their numbers
                raise
            yield self._card(instance, card.gpu, str(index))

    def _card(self, handle: object, gpu: str, mig: str) -> Card:
        uuid = _text(self._try("uuid", lambda: pynvml.nvmlDeviceGetUUID(handle)) or "")
        values: dict[str, float] = {}

        def keep(field: str, read: Callable[[], float | None]) -> None:
            value = self._try(field, read)
            if value is not None:
                values[field] = value

        keep("utilization_ratio", lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
        keep("utilization_mean_ratio", lambda: self._mean(handle, uuid))
        keep("temperature_celsius", lambda: float(_temperature(handle)))
        keep("power_watts", lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)
        keep("power_limit_watts", lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000)
        memory = self._try("memory", lambda: _memory(handle))
        if memory is not None:
            values |= memory
        clocks = {
            name: self._try(f"clock_{name}", partial(_clock, handle, domain))
            for name, domain in _CLOCKS.items()
        }
        reasons = self._try(
            "throttled", lambda: int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        )
        processes = self._try(
            "processes", lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        )
        return Card(
            gpu=gpu,
            uuid=uuid,
            name=_text(self._try("name", lambda: pynvml.nvmlDeviceGetName(handle)) or ""),
            mig=mig,
            values=values,
            clocks={name: hertz for name, hertz in clocks.items() if hertz is not None},
            throttled={}
            if reasons is None
            else {name: bool(reasons & bit) for name, bit in _THROTTLES.items()},
            processes={
                p.pid: float(p.usedGpuMemory)
                for p in processes or ()
                if p.usedGpuMemory is not None
            },
        )

    def _try(self, field: str, read: Callable[[], T]) -> T | None:
        """What the driver can't say is None, and counted; what it can never say again is raised."""
        try:
            return read()
        except pynvml.NVMLError as error:
            if error.value in _FATAL and error.value != pynvml.NVML_ERROR_NO_PERMISSION:
                raise
            if field:
                self.failures[field, _word(error.value)] += 1
            return None

    def _mean(self, handle: object, uuid: str) -> float | None:
        """Utilization since the last reading, where the driver keeps samples; None: it has none."""
        last = self._sampled.get(uuid, 0)
        kind = pynvml.NVML_GPU_UTILIZATION_SAMPLES
        _, samples = pynvml.nvmlDeviceGetSamples(handle, kind, last)
        new = [s for s in samples if s.timeStamp > last]
        if not new:
            return None
        self._sampled[uuid] = max(int(s.timeStamp) for s in new)
        return float(sum(s.sampleValue.uiVal for s in new)) / len(new) / 100


def _memory(handle: object) -> dict[str, float] | None:
    """None: the driver answers, but has no memory to tell of (unified memory)."""
    try:
        info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        info = pynvml.nvmlDeviceGetMemoryInfo(handle)  # a driver from before 2021
    if info.total <= 0:
        return None
    return {
        "memory_used_bytes": float(info.used),
        "memory_free_bytes": float(info.free),
        "memory_total_bytes": float(info.total),
    }


def _temperature(handle: object) -> int:
    return int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _clock(handle: object, domain: int) -> float:
    return float(pynvml.nvmlDeviceGetClockInfo(handle, domain)) * _MEGA


def _text(said: str | bytes) -> str:
    """Old versions of the package give bytes."""
    return said.decode(errors="replace") if isinstance(said, bytes) else said


_WORDS: Final = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: "not_supported",
    pynvml.NVML_ERROR_NO_PERMISSION: "no_permission",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "not_in_this_driver",
    pynvml.NVML_ERROR_NOT_FOUND: "not_found",
    pynvml.NVML_ERROR_TIMEOUT: "timeout",
    pynvml.NVML_ERROR_UNKNOWN: "unknown",
}


def _word(code: int) -> str:
    return _WORDS.get(code, "other")
