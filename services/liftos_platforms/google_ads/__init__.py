"""The Google Ads API, v26, over gRPC and REST, as a simulator.

gaql         queries: text to syntax tree
catalogue    the fields of the API, from the published messages
metrics      the metrics that the simulator offers
plan         a query held against the fields (with dates, literals and predicates)
attributes   the fields of what is in an account
rows         the rows that answer a plan, from the truth
rendering    rows as bytes of the wire, in chunks
delivery     chunks on their way, and the faults that strike them
access       tokens, the tree of customers, operations of a day
failures     errors, and how each transport carries them; troubles, those of planned faults
service      the answers, without a transport (with calls, page_tokens and field_search)
grpc_server, rest, face  the transports, and both together
messages     the published messages
"""
