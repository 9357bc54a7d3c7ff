"""A development server with TensorFlow Serving's protocols, for machines without TensorFlow Serving and for tests."""

import os
import threading
from concurrent import futures

import grpc

from zoo.errors import ZooError, checked_path
from zoo.exporting.grpc_service import GrpcService
from zoo.exporting.rest_service import RestServer
from zoo.exporting.served_models import LARGEST, Models


class Server:
    """The development server; it does not join requests into batches.

    Args:
        out: the folder of all exports.
        port: the port of gRPC; 0 takes any free port.
        rest_port: the port of REST; 0 takes any free port.
        host: the address to listen at; by default only this machine can connect.
    """

    def __init__(self, out: str | os.PathLike, port: int = 8500, rest_port: int = 8501, host: str = "localhost"):
        out = checked_path(out, "out")
        if not out.is_dir():
            raise ZooError(f"there is no folder {out}")
        options = [("grpc.max_receive_message_length", LARGEST), ("grpc.so_reuseport", 0)]
        self._grpc = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=options)
        try:
            self._rest = RestServer((host, rest_port))
        except OSError as error:
            raise ZooError(f"can't use port {rest_port}: {error.strerror}; choose another") from None
        try:
            self.port = self._grpc.add_insecure_port(f"{host}:{port}")
            self.models = self._rest.models = Models(out)
        except BaseException as error:
            self._rest.server_close()
            self._grpc.stop(None)
            if isinstance(error, RuntimeError):
                raise ZooError(f"can't use port {port}: it is in use; choose another") from None
            raise
        self.rest_port = self._rest.server_address[1]
        GrpcService(self.models).add_to(self._grpc)
        self._thread = threading.Thread(target=self._rest.serve_forever, daemon=True)

    def start(self) -> None:
        """Starts to answer, in threads of its own."""
        self._grpc.start()
        self._thread.start()

    def stop(self) -> None:
        """Stops after the running requests, within a second."""
        self.models.is_closed.set()
        if self._thread.is_alive():
            self._rest.shutdown()
        self._rest.server_close()
        self._grpc.stop(1.0).wait()
