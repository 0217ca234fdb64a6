"""The body of a request as a private file, of limited size, that is gone after the request."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request

from imgdb.serve.problems import RequestRefused
from imgdb.serve.state import ServerState
from imgdb.words import byte_count

# What OpenAPI says of bytes, and of a request whose body is a picture.
BINARY = {"type": "string", "format": "binary"}
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": BINARY}},
    }
}


@asynccontextmanager
async def uploaded(request: Request, state: ServerState) -> AsyncIterator[Path]:
    """Yield the file; RequestRefused where it is larger than the server takes."""
    refused = RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the picture has more than {byte_count(state.max_upload)}; --max-upload allows more",
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > state.max_upload:
        raise refused
    descriptor, name = tempfile.mkstemp(dir=state.decoder.folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for piece in request.stream():
                if file.tell() + len(piece) > state.max_upload:
                    raise refused
                file.write(piece)
        yield Path(name)
    finally:
        Path(name).unlink()
