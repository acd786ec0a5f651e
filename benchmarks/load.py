"""The server under many clients: python -m benchmarks.load.

Starts `mien serve` and asks it with wrk (a load generator; Debian's package wrk): a photo of
640x480 with one drawn face, from 1, 8 and 64 connections; then an hour's worth of requests (72,000:
twenty a second) of a small face, watching the memory; then streams of ten frames a second over
WebSockets. Server and clients share the machine.
"""

import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from websockets.sync.client import connect

from mien.drawn import draw_face, draw_portrait, sample_parameters

_SECONDS = 15
_HOUR = 72_000
_STREAMS = (1, 4, 8)
_SCRIPT = """
local file = io.open("{picture}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function init(args) ok = 0; busy = 0; other = 0 end
function response(status)
  if status == 200 then ok = ok + 1 elseif status == 503 then busy = busy + 1
  else other = other + 1 end
end
function done(summary, latency)
  local sums = {{ok = 0, busy = 0, other = 0}}
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
  end
  io.write(string.format('RESULT {{"ok": %d, "busy": %d, "other": %d, "seconds": %f, "p50": %f, '
    .. '"p99": %f}}\\n', sums.ok, sums.busy, sums.other, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=88)
    return out.getvalue()


def _photo() -> NDArray[np.uint8]:
    portrait = draw_portrait(sample_parameters("happiness", seed=2), size=480)
    photo = np.full((480, 640, 3), 120, np.uint8)
    photo[:, 80:560] = portrait
    return photo


def _memory(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _wrk(
    folder: Path, address: str, picture: bytes, connections: int, seconds: int
) -> dict[str, Any]:
    (folder / "picture").write_bytes(picture)
    script = folder / "post.lua"
    script.write_text(_SCRIPT.format(picture=folder / "picture"))
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, address],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout.rpartition("RESULT ")[2].splitlines()[0])
    return found


def _stream(address: str, frame: bytes, seconds: float, waits: list[float]) -> None:
    """Send ten frames a second, and time each answer."""
    with connect(address) as socket:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            socket.send(frame)
            assert json.loads(socket.recv())["error"] is None
            waits.append(1000 * (time.monotonic() - began))
            time.sleep(max(0.0, 0.1 - (time.monotonic() - began)))


def main() -> None:
    if shutil.which("wrk") is None:
        print("passed over: no wrk; Debian's package of that name has it")
        return
    photo, face = _jpeg(_photo()), _jpeg(draw_face(sample_parameters("happiness", seed=2), size=96))
    with tempfile.TemporaryDirectory() as name:
        program = str(Path(sys.executable).with_name("mien"))
        server = subprocess.Popen(
            [program, "serve", "--port", "0", "--rate", "1e9"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[3]
            folder, pid = Path(name), server.pid
            _wrk(folder, f"{address}v1/predict", photo, 1, 2)
            for connections in (1, 8, 64):
                found = _wrk(folder, f"{address}v1/predict", photo, connections, _SECONDS)
                print(
                    f"photos, {connections} connections: {found['ok'] / found['seconds']:.1f} "
                    f"answers a second, {found['busy']:,} sent away, {found['other']} else; "
                    f"all of them p50 {found['p50']:.0f} ms, p99 {found['p99']:.0f} ms"
                )
            asked, before = 0, _memory(pid)
            while asked < _HOUR:
                found = _wrk(folder, f"{address}v1/predict?detector=none", face, 8, 20)
                asked += found["ok"]
                print(
                    f"faces: {asked:,} answered, {found['ok'] / found['seconds']:.0f} a second, "
                    f"{found['busy'] + found['other']} else, {_memory(pid):.0f} MB "
                    f"({before:.0f} MB at first)"
                )
            where = address.replace("http", "ws") + "v1/stream"
            for count in _STREAMS:
                waits: list[float] = []
                threads = [
                    threading.Thread(target=_stream, args=(where, photo, _SECONDS, waits))
                    for _ in range(count)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                cuts = statistics.quantiles(waits, n=100)
                print(
                    f"{count} streams: {len(waits) / _SECONDS / count:.1f} frames a second, "
                    f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, {_memory(pid):.0f} MB"
                )
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
