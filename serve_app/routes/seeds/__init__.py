"""The routes of older services, whose clients work here unchanged: one file each, thin over the native path."""

from serve_app.routes.seeds import deepsafe, facenet, small

ROUTERS = (deepsafe.router, facenet.router, small.router)
