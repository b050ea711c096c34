"""A real S3 server for tests and experiments: SeaweedFS on free ports of this machine.

    python -m tests.s3 FOLDER COMMAND …

runs a command with a store on a server that keeps its data in the folder.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BUCKET = "icanvas-tests"
ACCESS_KEY = "icanvas-access"
SECRET_KEY = "icanvas-secret-never-shown"

# Each server of SeaweedFS listens on two ports, HTTP and gRPC.
_SERVERS = ("s3", "master", "volume", "filer", "admin")


class SeaweedFS:
    """A server process that can be killed and started again.

    Parameters
    ----------
    folder : Path
        Folder for its data; empty, or of an earlier server.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = free_ports(2 * len(_SERVERS))
        self._ports = dict(zip(_SERVERS, zip(ports[::2], ports[1::2], strict=True), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3'][0]}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables for clients of the server, without the AWS settings of this machine."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self) -> "S3Client":
        """Return a boto3 client, independent of the store."""
        return boto3.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(connect_timeout=2, read_timeout=30),
        )

    def start(self) -> None:
        """Start the server and wait until the bucket can be used."""
        arguments = [
            f"-{name}.port{form}={port}"
            for name, ports in self._ports.items()
            for form, port in zip(("", ".grpc"), ports, strict=True)
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("weed"),
                    "mini",
                    f"-dir={self._folder}",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    *arguments,
                    f"-s3.localSocket={self._folder / 's3.sock'}",
                    f"-filer.localSocket={self._folder / 'filer.sock'}",
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-s3.autoCreateBucket=false",
                    "-webdav=false",
                    "-admin.ui=false",
                    "-master.telemetry=false",
                ],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )
        self._wait()

    def kill(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        for ports in self._ports.values():
            for socket_path in Path("/tmp").glob(f"seaweedfs-*-{ports[1]}.sock"):
                socket_path.unlink(missing_ok=True)

    def _wait(self) -> None:
        client = self.client()
        deadline = time.monotonic() + 60
        while True:
            try:
                if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                    client.create_bucket(Bucket=BUCKET)
                # The server responds before it can store objects.
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
                return
            except Exception:
                if time.monotonic() > deadline or self._process is None or self._process.poll():
                    raise
                time.sleep(0.05)


@contextmanager
def running_s3(folder: Path) -> Iterator[SeaweedFS]:
    """Run a server for the duration of the block."""
    server = SeaweedFS(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def corrupting_proxy(
    server: SeaweedFS,
    corrupt: Callable[[bytes, int], bytes | None],
    on_request: Callable[[bytes], object] = lambda _: None,
) -> Iterator[str]:
    """Run a proxy that corrupts the responses of a server.

    Parameters
    ----------
    server : SeaweedFS
        The server.
    corrupt : callable
        Called with each chunk of the responses and the number of the connection, from 0. Returns
        the bytes that the client receives; None closes the connection.
    on_request : callable
        Called with each chunk of the requests.

    Yields
    ------
    str
        URL of the proxy.
    """
    host, port = server.endpoint.removeprefix("http://").split(":")

    def forward(source: socket.socket, sink: socket.socket, number: int | None) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if number is None:
                    on_request(data)
                forwarded = data if number is None else corrupt(data, number)
                if forwarded is None:
                    break
                sink.sendall(forwarded)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def listen(listener: socket.socket) -> None:
        for number in count():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = socket.create_connection((host, int(port)))
            for connection in ((client, upstream, None), (upstream, client, number)):
                threading.Thread(target=forward, args=connection, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, args=[listener], daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        # close() alone would not interrupt accept().
        listener.shutdown(socket.SHUT_RDWR)


def free_ports(count: int) -> list[int]:
    """Return port numbers that are not in use."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def main() -> int:
    folder, *command = sys.argv[1:]
    path = Path(folder).absolute()
    path.mkdir(parents=True, exist_ok=True)
    with running_s3(path) as server:
        environment = {**server.environment, "ICANVAS_STORE": f"s3://{BUCKET}/demo"}
        return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
