"""Work that outlives the call that ordered it: a queue of jobs in the service's own Postgres."""
