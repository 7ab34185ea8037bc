"""A client of ygg's dispatcher, for programs and for the command line.

    import asyncio
    from ygg.client import Client

    async def main() -> None:
        async with Client() as client:  # YGG_URL, or the dispatcher on this machine
            task = await client.submit(title="Why is the sky blue?", priority=1)
            task = await client.wait(task.id)
            print(await client.answer(task.id) if task.outcome == "done" else task.error)

    asyncio.run(main())

Every call raises Unreachable when nobody answers and Problem when the dispatcher says no. What the
calls return is in ygg.shapes.
"""

from ygg.client.address import DEFAULT_URL
from ygg.client.client import Client, NewDecision, NewTask
from ygg.client.errors import Problem, Unreachable, WrongSettings
from ygg.client.patience import Patience
from ygg.client.transport import Limits

__all__ = [
    "DEFAULT_URL",
    "Client",
    "Limits",
    "NewDecision",
    "NewTask",
    "Patience",
    "Problem",
    "Unreachable",
    "WrongSettings",
]
