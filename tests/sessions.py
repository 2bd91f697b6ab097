"""A membership of a test's: its session and what sends for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from peer.fetch import Files
from peer.outbox import Outbox
from peer.parting import Before
from peer.sending import Sender
from peer.session import Session, Who
from peer.standing import Standing
from swarm.client import CoordinatorClient
from swarm.identity import Identity
from swarm.proto import coordinator_pb2 as pb
from swarm.tensorfile import state_digest

_NOBODY = Before()


def session_of(client: CoordinatorClient, box: Outbox, folder: Path, before: Before = _NOBODY) -> Session:
    """Its checkpoints wait in `folder`, and are kept beside that."""
    standing, files = Standing(), Files(client, folder.parent / "blobs", lambda _: None)
    sender = Sender(client, box, folder, standing, files.keep_checkpoint)
    return Session(client, Who(Identity.from_seed(b"k" * 32), "peer", "", 0, before), box, sender, standing)


def offer(session: Session) -> None:
    """Keep a checkpoint of round 4."""
    path = session.sender.checkpoint_path(4)
    path.write_bytes(save({"model/weight": np.zeros(250, np.float32)}))
    session.sender.offer(pb.Checkpoint(round=4, digest=state_digest(path)))
