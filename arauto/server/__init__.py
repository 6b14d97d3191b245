"""The face for programs: decisions and events over HTTP, admin routes, the browser snippet. One process or many."""

from arauto.server.main import Running, Started, claim_port, do_jobs, running, serve, to_environ

__all__ = ["Running", "Started", "claim_port", "do_jobs", "running", "serve", "to_environ"]
