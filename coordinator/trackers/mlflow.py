"""MLflow: the experiment MLFLOW_EXPERIMENT_NAME, by default garage-swarm, at the server MLFLOW_TRACKING_URI."""

from __future__ import annotations

import os

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from coordinator.trackers import About, Point

_TAG = "garage_swarm.id"
_PARAMETERS = 100  # MLflow takes so many at once


class MLflow:
    """One run of MLflow's."""

    def __init__(self, client: MlflowClient, run: str) -> None:
        self._client = client
        self._run = run

    def note(self, point: Point) -> None:
        at = int(1000 * point.at)
        self._client.log_batch(
            self._run, [Metric(name, value, at, point.round) for name, value in point.numbers.items()]
        )

    def close(self) -> None:
        self._client.set_terminated(self._run)


def begin(about: About) -> MLflow:
    """Goes on with the run of an earlier start."""
    client = MlflowClient()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "garage-swarm")
    known = client.get_experiment_by_name(name)
    experiment = known.experiment_id if known else client.create_experiment(name)
    for run in client.search_runs([experiment], f"tags.`{_TAG}` = '{about.id}'", max_results=1):
        client.set_terminated(run.info.run_id, "RUNNING")
        return MLflow(client, run.info.run_id)
    made = client.create_run(experiment, run_name=about.run, tags={_TAG: about.id}).info.run_id
    settings = [Param(key, str(value)) for key, value in about.settings.items() if value != ""]
    for start in range(0, len(settings), _PARAMETERS):
        client.log_batch(made, params=settings[start : start + _PARAMETERS])
    return MLflow(client, made)
