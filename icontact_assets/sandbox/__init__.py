"""An iContact on loopback, with accounts, time, faults and a request log. Imports no other room."""
