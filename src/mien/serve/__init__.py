"""The web page and the REST API: `create_app` for any ASGI server, `serve` for `mien serve`.

Nothing that is sent is stored. Needs FastAPI and uvicorn (``pip install '.[serve]'``), no torch.
"""

from mien.serve.app import create_app
from mien.serve.guard import is_loopback
from mien.serve.limits import Limits
from mien.serve.run import serve

__all__ = ["Limits", "create_app", "is_loopback", "serve"]
