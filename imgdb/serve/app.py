"""The application: its routes, its errors, and the guard around both."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.middleware.gzip import GZipMiddleware

from imgdb import __version__
from imgdb.serve import api, pages, review
from imgdb.serve.metrics import add_metrics
from imgdb.serve.problems import explain_errors
from imgdb.serve.search_only import router as search_only_routes
from imgdb.serve.state import ServerState


def application(state: ServerState, *, search_only: bool = False) -> FastAPI:
    """Return the application without its guard, or what of it a login has that may only search."""
    app = FastAPI(
        title="imgdb",
        version=__version__,
        summary="Exact image-similarity search",
        openapi_url="/api/openapi.json",
        # These pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # Makers of clients name their functions after these.
        generate_unique_id_function=lambda route: route.name,
        # Only told of here: the guard has asked for it already.
        dependencies=[Depends(HTTPBearer(auto_error=False))],
    )
    app.state.imgdb = state
    # A thousand matches are 1.9 MB of HTML, and 0.1 MB when sent. No answer holds a secret.
    app.add_middleware(GZipMiddleware, minimum_size=100_000, compresslevel=1)
    add_metrics(app)
    explain_errors(app)
    if search_only:
        app.include_router(search_only_routes, prefix="/api")
        return app
    app.include_router(pages.router)
    app.include_router(api.router, prefix="/api")
    app.state.groups = review.Groups()
    app.include_router(review.router)
    return app
