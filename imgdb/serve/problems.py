"""Every error as problem+json (RFC 9457), in the words that commands use."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from imgdb.errors import (
    ConnectionFailed,
    DatabaseFailure,
    ImgdbError,
    PictureError,
    UnknownName,
    UsageError,
)
from imgdb.pictures.reasons import reason_in_words
from imgdb.sqlstate import translate

PROBLEM = "application/problem+json"

# The first that an error is, counts.
_STATUS: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (PictureError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnknownName, HTTPStatus.NOT_FOUND),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (ConnectionFailed, HTTPStatus.SERVICE_UNAVAILABLE),
    (DatabaseFailure, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ImgdbError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


class RequestRefused(ImgdbError):
    """A request that cannot be carried out, with the status that says why."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


def problem(status: int, detail: str, **others: object) -> JSONResponse:
    """Return a problem as a response; `others` are more members of it."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        **others,
    }
    return JSONResponse(content, status, media_type=PROBLEM)


def explain_errors(app: FastAPI) -> None:
    """Have the application answer every error with a problem."""
    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        ImgdbError: _of_imgdb,
        HTTPException: _of_http,
        RequestValidationError: _of_arguments,
        ClientDisconnect: _of_nobody,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _of_imgdb(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestRefused):
        return problem(error.status, str(error))
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    # Without a code of PostgreSQL it is a value that cannot even be sent: a text with a NUL.
    if isinstance(error.__cause__, psycopg.DataError) and error.__cause__.sqlstate is None:
        status = HTTPStatus.BAD_REQUEST
    if isinstance(error, PictureError):
        if error.reason == "missing":
            status = HTTPStatus.NOT_FOUND
        return problem(status, reason_in_words(error), reason=error.reason)
    return problem(status, str(error))


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = problem(error.status_code, error.detail)
    found.headers.update(error.headers or {})
    return found


async def _of_arguments(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()]
    return problem(HTTPStatus.BAD_REQUEST, "; ".join(wrong))


async def _of_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _unexpected(request: Request, error: Exception) -> Response:
    logging.getLogger("imgdb.serve").error(
        "%s %s", request.method, request.url.path, exc_info=error
    )
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, translate(error).__class__.__name__)
