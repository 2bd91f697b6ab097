"""TensorBoard: event files in the run's folder `tensorboard`, written without torch or TensorFlow."""

from __future__ import annotations

from tensorboard.summary import Writer

from coordinator.trackers import About, Point


class TensorBoard:
    """Look with `tensorboard --logdir FOLDER/tensorboard`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def note(self, point: Point) -> None:
        for name, value in point.numbers.items():
            self._writer.add_scalar(name, value, point.round, wall_time=point.at)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def begin(about: About) -> TensorBoard:
    """Each start of the coordinator writes a file of its own; TensorBoard shows them as one run."""
    return TensorBoard(Writer(str(about.folder / "tensorboard")))
