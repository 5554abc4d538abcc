"""An iContact on loopback, with accounts, time, faults and a request log. Imports no other room.

`world` holds the facts, `seed` invents them, `search` and `render` turn them into rows, `reading` and `writing` are the
service's own behaviour, `switches` choose between the readings of what the service leaves open, `faults` break answers
on purpose, `control` is the back door for tests, `server` listens, `process` starts a server of its own for a test.
Everything that can be switched, planned and edited is described in docs/sandbox.md.
"""
