"""From a task's labels and title to its type.

Pure. Which options a type has is the fleet's to say, whether one is free the board's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ygg.fleet import FALLBACK_TYPE, TypeSettings

#: A word of a title.
WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


def detect_type(labels: Iterable[str], title: str, types: Mapping[str, TypeSettings]) -> str:
    """The type of a task: by its labels first, then by words of its title, else `general`.

    The first label that means a type decides; among words, the first type in the order of
    hosts.yaml that has one of them in the title.
    """
    by_label = {
        label: name for name, t in reversed(list(types.items())) for label in (*t.labels, name)
    }
    for label in labels:
        if label in by_label:
            return by_label[label]
    words = set(WORD.findall(title.lower()))
    words |= {part for word in words for part in word.split("-")}
    for name, settings in types.items():
        if not words.isdisjoint(settings.words):
            return name
    return FALLBACK_TYPE
