"""A real OpenAI-compatible server on this machine, which scores prompts with a tiny model."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from hanlin.models.load import load_model


class Server:
    """An OpenAI-compatible server; `kind` says how it gives log-probabilities of a prompt."""

    def __init__(self, folder, *, kind="echo", names_folder=True):
        self.model, self.kind = load_model(folder), kind
        self.requests, self.failures = [], 0
        self.entry = {"id": str(folder) if names_folder else "tiny", "max_model_len": 512}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.give(200, {"data": [server.entry]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((body, self.headers.get("Authorization")))
                if server.failures:
                    server.failures -= 1
                    self.give(503, {"error": "busy"})
                elif server.kind == "prompt_logprobs" and body.get("echo"):
                    self.give(400, {"error": "max_tokens must be at least 1"})
                else:
                    self.give(200, {"choices": server.choices(body)})

            def give(self, code, value):
                data = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_port}/v1"

    def choices(self, body):
        made = []
        for index, ids in enumerate(body["prompt"]):
            with torch.inference_mode():
                logits = self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
            values = [logits[i, token].item() for i, token in enumerate(ids[1:])]
            choice = {"index": index, "text": ""}
            if self.kind == "echo":
                choice["logprobs"] = {"token_logprobs": [None, *values]}
            if self.kind == "prompt_logprobs":
                rows = [{str(t): {"logprob": v}} for t, v in zip(ids[1:], values, strict=True)]
                choice["prompt_logprobs"] = [None, *rows]
            if self.kind == "short":  # those of new tokens only
                choice["logprobs"] = {"token_logprobs": [-1.0]}
            made.append(choice)
        return made[::-1]  # the index says which is which

    def close(self):
        self.http.shutdown()
        self.http.server_close()
