"""How hard the property tests look: `HYPOTHESIS_PROFILE=quick`, `ci` (the default) or `prove`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: The same examples every time: a red run is red again on the next machine.
settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
#: While code is being written: finds what is plainly wrong.
settings.register_profile("quick", settings.get_profile("ci"), max_examples=10)
#: New examples every time, many and long. It prints the way back to what it found.
settings.register_profile(
    "prove",
    derandomize=False,
    database=None,
    deadline=None,
    max_examples=3000,
    stateful_step_count=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
