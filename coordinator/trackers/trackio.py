"""Trackio: the project garage-swarm of this machine, which `trackio show` shows."""

from __future__ import annotations

import trackio

from coordinator.trackers import About, Point


class Trackio:
    """Trackio's run of this process."""

    def note(self, point: Point) -> None:
        trackio.log(dict(point.numbers), step=point.round)

    def close(self) -> None:
        trackio.finish()


def begin(about: About) -> Trackio:
    trackio.init(project="garage-swarm", name=about.id, resume="allow", config=dict(about.settings))
    return Trackio()
