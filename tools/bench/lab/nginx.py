"""nginx as a contestant, or behind one: with everything it writes in the place of the run."""

import subprocess

from lab.place import Place

COMMON = """
user root;
worker_processes {workers};
daemon off;
pid {root}/{name}.pid;
error_log {root}/{name}-error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {root}/{name}-body;
  proxy_temp_path {root}/{name}-proxy;
  fastcgi_temp_path {root}/{name}-fastcgi;
  uwsgi_temp_path {root}/{name}-uwsgi;
  scgi_temp_path {root}/{name}-scgi;
"""


def start_nginx(place: Place, name: str, http: str, workers: int = 2) -> subprocess.Popen:
    """Starts one whose `http` block ends with this text."""
    path = place.root / f"{name}.conf"
    path.write_text(f"{COMMON.format(root=place.root, name=name, workers=workers)}{http}}}\n")
    return place.start(["nginx", "-p", str(place.root), "-c", str(path)], f"{name}.log")
