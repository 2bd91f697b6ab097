"""Wiring: clock, store, gRPC over TLS, health, the bootstrap node. One process serves one run."""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from coordinator import arrivals, history, lock, tables_at
from coordinator import decisions as d
from coordinator import events as e
from coordinator.admission import Admission, new_token
from coordinator.artefacts import Artefacts, read_artefacts
from coordinator.audit import Audit
from coordinator.bans import barred
from coordinator.blobs import Blobs
from coordinator.bootstrap import Addresses, Bootstrap, addresses
from coordinator.calls import Calls
from coordinator.chronicle import Chronicle
from coordinator.engine import Engine
from coordinator.gate import THREADS, Gate
from coordinator.handover import FILE, Lead, require_lead
from coordinator.history import History
from coordinator.logbook import Logbook
from coordinator.metrics import RunMetrics
from coordinator.nodepass import NodePapers
from coordinator.patience import Patience
from coordinator.records import Checkpoint, Terms
from coordinator.rules import LARGEST
from coordinator.servicer import Servicer
from coordinator.store import Store, open_store
from coordinator.trackers import About
from coordinator.tracking import Tracking
from coordinator.web.app import Page
from coordinator.web.board import Board
from coordinator.web.calls import Maintaining
from coordinator.web.server import PageServer, PageSettings
from swarm import log, metrics
from swarm.errors import CorruptError, PortInUseError, SwarmError, from_os_error
from swarm.identity import ServerCertificate, server_certificate
from swarm.invite import Invite, is_token
from swarm.proto.coordinator_pb2_grpc import add_CoordinatorServicer_to_server
from swarm.runspec import RunSpec
from swarm.tensorfile import atomic_write

logger = log.get(__name__)

_CALLS = 1024  # at the same time, those that wait for a thread too; more are refused
_TICK_SECONDS = 1.0
_LOOK_SECONDS = 0.1  # at the calls that say nothing
_ABSENCE_SECONDS = 5.0  # without a tick: this process did not run, or the clock was set
_STOP_SECONDS = 2.0
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", LARGEST + 4096),  # bytes
    # A peer that vanished in the middle of an upload must not hold the file for ever.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


@dataclass(frozen=True)
class Settings:
    """One coordinator. `data_dir` holds what `peer.prepare` made; `port` 0 takes a free one; `store_url` names a
    PostgreSQL for the run's tables, empty for a file in `data_dir`.
    """

    data_dir: Path
    host: str
    port: int
    advertise_host: str
    spec: RunSpec
    bootstrap_command: tuple[str, ...]
    store_url: str = ""
    heartbeat_seconds: float = 5.0
    metrics: metrics.Address | None = None
    page: PageSettings | None = None


class Coordinator:
    """Starts with `start`, ends with `stop`; what was started before an error is stopped again."""

    def __init__(self, settings: Settings) -> None:
        self.port = settings.port
        self.metrics = settings.metrics
        self.page_port = 0  # of the page, when there is one
        self._settings = settings
        self._resources = ExitStack()
        self._ended = threading.Event()
        self._token = ""
        self._own_token = new_token()
        self._certificate: ServerCertificate | None = None
        self._lead: Lead

    @property
    def invite(self) -> Invite:
        """The run's first one, for volunteers: valid until it is revoked."""
        return self._invite(self._settings.advertise_host, self._token)

    @property
    def own_invite(self) -> Invite:
        """A maintainer's, for this machine, valid until the coordinator stops."""
        host = self._settings.host
        return self._invite(_LOOPBACK.get(host, host), self._own_token)

    def _invite(self, host: str, token: str) -> Invite:
        if self._certificate is None:
            raise RuntimeError("the coordinator was not started")
        return Invite(host, self.port, self._settings.spec.run.name, self._certificate.fingerprint, token)

    def require_lead(self) -> None:
        """Raises HandedOverError, which says where the run is led instead."""
        self._lead.require()

    def start(self) -> None:
        """Serve. Raises PortInUseError, UsageError (another coordinator has the folder), DiskError, CorruptError, …"""
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise from_os_error(error, "starting the coordinator") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything; nothing is left. May be called at any time, and again."""
        self._ended.set()
        self._resources.close()

    def _start(self) -> None:
        settings = self._settings
        self._resources.enter_context(lock.hold(settings.data_dir))
        require_lead(settings.data_dir, settings.spec.run.name, (settings.advertise_host, settings.port))
        self._certificate = certificate = server_certificate(settings.data_dir)
        self._token = _token(settings.data_dir)
        artefacts = read_artefacts(settings.data_dir / "artefacts.json")
        blobs = Blobs(settings.data_dir / "blobs")
        for blob in artefacts.blobs:
            blobs.verify(blob.sha256)
        for blob in artefacts.base:
            blobs.verify_once(blob.sha256, blob.size)
        url = tables_at.require(settings.data_dir, settings.store_url)
        store = open_store(settings.spec.run.name, settings.data_dir, url)
        self._resources.callback(store.close)
        engine, told = _engine(settings, artefacts, store, blobs)
        members = Addresses(settings.data_dir, lambda: addresses(engine.state))
        papers = NodePapers(
            settings.spec.run.name,
            certificate,
            lambda: barred(engine.state, time.time()),
            settings.data_dir / "p2p.papers",
        )
        bootstrap = Bootstrap(self._bootstrap_command(papers), members.known, settings.data_dir / "p2p.folder", papers)
        self._resources.callback(bootstrap.stop)
        bootstrap.start()
        engine.apply(e.Resumed(told.open, seconds=0.0))
        admission = Admission(engine, self._own_token)
        admission.keep(self._token, "the run's first")
        self._lead = lead = Lead(settings.data_dir, engine)
        known = (lambda: bootstrap.maddrs, admission, told.id, lead, certificate)
        servicer = Servicer(settings.spec, artefacts, engine, *known)
        audit = Audit(settings.data_dir)
        self._resources.callback(audit.close)
        engine.listeners.append(audit.decided)
        logbook = Logbook(settings.spec.run.name, store.database)
        logbook.create()
        chronicle = Chronicle(engine.state, logbook.told(engine.state))
        tracking = self._tracking(certificate)
        chronicle.listeners += [logbook.keep, tracking.round]
        engine.listeners.append(tracking.decided)
        gate = Gate(engine, admission, lead, audit)
        threading.Thread(target=self._keep_patience, args=(gate.patience,), name="patience", daemon=True).start()
        self._serve(servicer, *self._measuring(engine, tracking), gate)
        if settings.page:
            self._show(settings.page, engine, logbook, Maintaining(settings.spec.run.name, gate, servicer))
        ticks = threading.Thread(
            target=self._keep_time, args=(engine, members, chronicle, told), name="ticks", daemon=True
        )
        ticks.start()
        self._resources.callback(lambda: self._last_look(ticks, engine, chronicle))

    def _bootstrap_command(self, papers: NodePapers) -> tuple[str, ...]:
        settings = self._settings
        if not settings.bootstrap_command:
            return ()
        where = ("--data-dir", str(settings.data_dir), "--host", settings.host)
        run = ("--run", settings.spec.run.name, "--handover", str(settings.data_dir / FILE))
        relay = ("--relay",) if settings.spec.training.mode == "local" else ()
        passes = ("--papers", str(papers.file), "--authority", str(settings.data_dir / "tls.pem"))
        return (*settings.bootstrap_command, *where, "--advertise-host", settings.advertise_host, *run, *relay, *passes)

    def _tracking(self, certificate: ServerCertificate) -> Tracking:
        spec, folder = self._settings.spec, self._settings.data_dir
        flat = {f"{name}.{key}": value for name, part in spec.model_dump().items() for key, value in part.items()}
        about = About(spec.run.name, f"{spec.run.name}-{certificate.fingerprint[:8]}", flat, folder)
        tracking = Tracking.start(spec.tracking.trackers, about)
        self._resources.callback(tracking.close)
        return tracking

    def _measuring(self, engine: Engine, tracking: Tracking) -> list[Calls]:
        """Serve metrics, where that is wished: what counts calls for them."""
        settings = self._settings
        if settings.metrics is None:
            return []
        run = RunMetrics(lambda: engine.state, tracking.dropped, settings.spec.evaluation.metrics.split(","))
        engine.listeners.append(run.decided)
        calls = Calls()
        self.metrics = self._resources.enter_context(metrics.serving(settings.metrics, run, calls))
        return [calls]

    def _serve(self, servicer: Servicer, *interceptors: grpc.ServerInterceptor) -> None:
        server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            interceptors=list(interceptors),
            maximum_concurrent_rpcs=_CALLS,
            options=_OPTIONS,
        )
        add_CoordinatorServicer_to_server(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        self.port = self._bind(server)
        server.start()
        self._resources.callback(lambda: server.stop(_STOP_SECONDS).wait(_STOP_SECONDS + 1))

    def _show(self, page: PageSettings, engine: Engine, logbook: Logbook, maintaining: Maintaining) -> None:
        """Serve the page, in a thread of its own."""
        invite = str(self.invite) if page.shows_invite else ""
        board = Board(self._settings.spec, engine, logbook, invite)
        board.load()
        logbook.listeners.append(board.add)
        shown = PageServer(page)
        self._resources.callback(shown.stop)
        shown.start(Page(self.invite, board, maintaining).app())
        self.page_port = shown.port

    def _bind(self, server: grpc.Server) -> int:
        settings, certificate = self._settings, self._certificate
        assert certificate is not None
        pair = (certificate.key_pem, certificate.certificate_pem)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            port = server.add_secure_port(f"{host}:{settings.port}", grpc.ssl_server_credentials([pair]))
        except RuntimeError:
            port = 0
        if not port:
            raise PortInUseError(
                f"The address {settings.host}:{settings.port} cannot be used: another program listens there, "
                "or this machine does not have it.",
                "Stop that program, or take another port with --port (0 takes a free one).",
            )
        return int(port)

    def _keep_time(self, engine: Engine, members: Addresses, chronicle: Chronicle, told: History) -> None:
        """Let time pass for the run, so that silent members and old leases end; until it is handed over."""
        while not self._ended.wait(_TICK_SECONDS) and not engine.closed:
            try:
                engine.apply()
                members.keep()
                chronicle.look(engine.state, time.time())
                if told.open and time.time() > engine.state.settled:
                    history.close(self._settings.data_dir, told)
                    told = replace(told, open=False)
            except (SwarmError, OSError) as error:
                logger.error("%s", error)

    def _keep_patience(self, patience: Patience) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            patience.look()

    def _last_look(self, ticks: threading.Thread, engine: Engine, chronicle: Chronicle) -> None:
        """Tell the newest round, too: nothing more is heard of it."""
        ticks.join(_STOP_SECONDS)
        chronicle.look(engine.state, math.inf)


def _engine(settings: Settings, artefacts: Artefacts, store: Store, blobs: Blobs) -> tuple[Engine, History]:
    """The run as it stood, and its history."""
    spec = settings.spec
    terms = Terms(
        run=spec.run.name,
        total_rounds=spec.training.rounds,
        target_batch_size=spec.training.target_batch_size,
        epoch_samples=artefacts.epoch_samples,
        keep_checkpoints=spec.checkpoint.keep,
        heartbeat_seconds=settings.heartbeat_seconds,
        probation_checks=spec.trust.probation_checks,
    )
    begun = bool(store.load(terms).checkpoints)
    if not begun:
        store.write([d.CheckpointAccepted(Checkpoint(**artefacts.checkpoint))], 0.0)
    engine = Engine(arrivals.found(store, blobs, terms), store, blobs, absence=_ABSENCE_SECONDS)
    return engine, history.of(settings.data_dir, begun)


def _token(data_dir: Path) -> str:
    """The secret of the run's first invite, made once. Raises CorruptError, naming the file, when it is damaged."""
    path = data_dir / "token"
    if not path.exists():
        with atomic_write(path) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(new_token().encode())
    token = path.read_text(errors="replace").strip()
    if not is_token(token):
        raise CorruptError(
            f"{path} is torn or was altered: it does not hold the token of the run's first invite.",
            "Restore it from a copy; or delete it: another first invite is made, and those handed out stay valid.",
        )
    return token
