"""`python -m swarm.cli`: the command line where the script `swarm` is not installed."""

from swarm.cli import main

main()
