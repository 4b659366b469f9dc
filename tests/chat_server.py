"""Chat servers for tests of teachers: one that answers by a script, and a real model behind a real server process.

python -m tests.chat_server FOLDER PORT        serves the model in FOLDER, OpenAI format, loopback only
"""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATH = "/v1/chat/completions"


class Scripted:
    """Answers by `script(request, number) -> text | (status, body[, headers])`; keeps what it was asked."""

    def __init__(self, script: Callable[[dict[str, Any], int], Any]) -> None:
        self.script, self.requests, self.headers = script, [], []
        self.lock = threading.Lock()
        self.most, self.now = 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer.lock:
                    number = len(outer.requests)
                    outer.requests.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.now += 1
                    outer.most = max(outer.most, outer.now)
                said = (404, "{}") if self.path != PATH else outer.script(body, number)
                with outer.lock:
                    outer.now -= 1
                if callable(said):
                    said(self)
                    return
                status, text, headers = (200, completion(said), {}) if isinstance(said, str) else (*said, {})[:3]
                data = text.encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @property
    def texts(self) -> list[str]:
        """The text part of every request."""
        return [request["messages"][0]["content"][-1]["text"] for request in self.requests]


def completion(text: str | None, **choice: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, **choice}]})


@contextmanager
def scripted(script: Callable[[dict[str, Any], int], Any]) -> Iterator[Scripted]:
    one = Scripted(script)
    thread = threading.Thread(target=one.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()
        thread.join()


def application(folder: Path) -> Any:
    """A real model in the OpenAI format: greedy, images as data URIs; extra fields are refused, as `transformers serve` does."""
    import numpy as np
    import torch
    from fastapi import FastAPI, HTTPException
    from PIL import Image

    from iqaflow.model import base

    model, processor = base.load(folder)
    model.eval()
    app = FastAPI()

    @app.post(PATH)
    def chat(request: dict[str, Any]) -> dict[str, Any]:
        if unknown := {"response_format", "logprobs"} & set(request):
            raise HTTPException(422, f"Unexpected fields in the request: {sorted(unknown)}")
        if request["model"] != folder.name:
            raise HTTPException(404, "no such model")
        content, images = request["messages"][0]["content"], []
        for part in content:
            if part["type"] == "image_url":
                data = base64.b64decode(part["image_url"]["url"].removeprefix("data:image/png;base64,"))
                images.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        parts = [{"type": "image"} if part["type"] == "image_url" else part for part in content]
        prompt = processor.apply_chat_template([{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[prompt], images=images or None, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=request["max_tokens"], do_sample=False)
        text = processor.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return json.loads(completion(text, finish_reason="stop"))

    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(application(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
