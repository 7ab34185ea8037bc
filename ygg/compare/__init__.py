"""`ygg compare`: the legacy dispatcher and the real one on one workload, measured.

`workload` reads what is to be done, `fleet` has the servers, `run` plays it through each
dispatcher as a process of its own. What came of it is read out of the journals: `recording` and
`figures` are pure, `report` and `picture` show them.
"""
