"""The `swarm` command of somebody who takes a worker to hang after seconds, not after half an hour."""

from __future__ import annotations

from peer import silence
from swarm.cli import main

if __name__ == "__main__":
    silence.USUAL = 8.0
    main()
