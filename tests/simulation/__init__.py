"""A simulated fleet that shows what the autoscaler's rule is worth, in virtual time.

`make simulate` (`python -m tests.simulation`) plays every scenario of `scenarios.py` on many seeds:
once with each static limit that the host's bounds allow, and once with the rule, that is with the
very `autoscaler.signals` and `autoscaler.policy` that run in production, scraped every 5 s and
asked every 15 s. Three hours take a second. It prints a table for the seeds that the rule was tuned
on and one for seeds that it never saw, and fails if a promise is broken. `--help` has the options.

    work.py       tasks: arrivals, heavy-tailed token counts, priorities
    hosts.py      a model server on a card: throughput, memory, failures, utilization that lies
    sources.py    exporter and dispatcher's /metrics as they are scraped, with their bad days
    plays.py      what a scenario is, and what came of a play of it
    backlog.py    open tasks, in the order in which they start
    world.py      the event loop: backlog, hosts, and who sets the limits
    scenarios.py  the scenarios, each with what it is there for
    judging.py    goodput against the best static limit, and the promises
    playing.py    many plays at once
    tables.py     what is printed
    picture.py    one run over time (matplotlib, the extra `picture`)

What is measured:

- **goodput**: tokens a second of answers that were not lost. Tokens of an attempt that failed count
  for nothing.
- **best static limit**: every limit from min to max is tried on the same tasks; of those that obey
  the law (memory over 90 % in at most 2 % of the time and no more memory failures than at min, or
  else min itself) the one with the best goodput. It is chosen with hindsight, seed by seed: nobody who
  sets a limit by hand has that. For several hosts with one backlog it is found host by host, in
  turns, until no host can be bettered, once from all at min and once from the most that is lawful.
  A play of a static limit ends where it breaks the law.
- **memory failures**: an allocation that finds no memory fails the youngest task, or the server.
  Those within three minutes of an abrupt step from outside (a game starts), a quarter of an hour
  where another model came, are counted apart: no rule that looks every 15 s could have known.
- **changes an hour**: resizes after the first hour; half an hour later where a model was switched then.

What is promised, on the seeds that are played, and fails if it does not hold (`judging.py`): of the
best static limit's goodput 98 % on average over all scenarios and 95 % in each; no memory failure
but at abrupt steps; fewer than 6 changes an hour. A scenario of which less is promised says so, and
why, where it stands (`least`, `failures_most`, `cause`); the table repeats it.

What is not simulated: prompt processing as a phase of its own, batching by the server beyond its
throughput curve, the network. Numbers of hosts are made up; those of tasks follow the Azure LLM
inference traces of 2023 (Patel et al., "Splitwise", ISCA 2024; CC BY 4.0) where a scenario says so.
"""
