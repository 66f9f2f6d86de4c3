"""An OpenAI-compatible endpoint on the loopback interface that answers by script."""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content, *, finish="stop", refusal=None, tokens=100):
    """A chat completion's body."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": tokens - 1, "completion_tokens": 1, "total_tokens": tokens}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def regions(*items):
    """An answer's text; items: (class, confidence, shape, points)."""
    keys = ("class", "confidence", "shape", "points")
    return json.dumps({"regions": [dict(zip(keys, item, strict=True)) for item in items]})


class ChatServer:
    """``answers``: (status, body, headers, seconds of delay) in turn, the last one for ever; bodies are bytes or JSON."""

    def __init__(self):
        self.answers = deque([(200, completion(regions()), {}, 0)])
        self.models = (200, {"object": "list", "data": [{"id": "m"}]}, {}, 0)
        self.requests = []  # (path, headers, JSON) of POSTs
        self._release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(*outer.models)

            def do_POST(self):
                if outer._release.is_set():  # closed: connections that were kept alive are dropped
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(body))
                )
                self.answer(*(outer.answers.popleft() if len(outer.answers) > 1 else outer.answers[0]))

            def answer(self, status, body, headers, delay):
                if delay:
                    outer._release.wait(delay)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                try:
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", **headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client had enough

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def script(self, *answers):
        """Each a text (a completion with that content), a body, or (status, body[, headers[, delay]])."""
        self.answers = deque(self._whole(a) for a in answers)

    @staticmethod
    def _whole(answer):
        if isinstance(answer, str):
            answer = completion(answer)
        parts = answer if isinstance(answer, tuple) else (200, answer)
        return (*parts, *({}, 0)[len(parts) - 2 :])

    def close(self):
        self._release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


__all__ = ["ChatServer", "Clock", "completion", "regions"]
