"""The routes of older services, whose clients work here unchanged: one file each, thin over the native path."""

from serve_app.routes.seeds import d3, d3_history, deepsafe, drishtiksha, facenet, small

ROUTERS = (
    d3.router,
    d3.documentation,
    d3_history.router,
    deepsafe.router,
    drishtiksha.router,
    facenet.router,
    small.router,
)
