"""The whole of LiftOS on one machine: real stores and the services as child processes.

Read `stack.py` first (what a caller uses), then `supervisor.py` (the process that keeps the
children alive) and `stores.py` (how each store is run). A data directory holds everything:

    postgres/ redis/ milvus/   the stores' data
    log/                       one file per process
    spans/                     traces of the services
    run/                       lock, plan, ports and state of the running stack
    secrets.json               generated passwords and the token secret, mode 0600
"""
