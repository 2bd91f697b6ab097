"""How a run would go: its spec, its sizes and a supposed swarm go in, figures and findings come out.

Pure, with virtual time: the coordinator's own state machine keeps members, leases and rounds, and the exchange's own
decisions close rounds, form groups and choose relays. It is here because only commands may use both. What the model
leaves out, and how well it foretold real runs: docs/decisions/0024-rehearsal.md.
"""
