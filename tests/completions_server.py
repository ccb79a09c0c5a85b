"""A real server that answers completions with a tiny model, as vLLM does or as stricter ones do.

    python completions_server.py serve MODEL --port 8000 ...       # vLLM's command line

`Completions` serves in a thread of the test itself.
"""

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hanlin.core.records import Grammar
from hanlin.inference.engine import Sampling, open_engine

OPENAI = {
    "model", "prompt", "max_tokens", "stream", "seed", "temperature", "top_p", "logprobs",
    "presence_penalty", "frequency_penalty", "response_format", "guided_choice",
}  # fmt: skip


class Completions:
    """A server; `kind` is "ids" (as vLLM), "text", "strict" (OpenAI's fields only) or "no-ids"."""

    def __init__(self, folder, *, kind="ids", port=0, models=None):
        self.engine = open_engine(str(folder))
        self.kind, self.requests, self.break_after, self.num_left = kind, [], None, 0
        self.heeds_grammar = True
        self.one_at_a_time = threading.Lock()
        self.models = models or [{"id": str(folder), "root": str(folder), "max_model_len": 512}]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.give(200, {"data": server.models})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(body)
                if refused := server.why_refused(body):
                    self.give(400, {"error": {"message": refused}})
                    return
                self.send_response(200)
                self.end_headers()
                try:
                    for number, event in enumerate(server.events(body)):
                        if number == server.break_after:
                            return
                        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                    self.wfile.write(b"data: [DONE]\n\n")
                except OSError:
                    server.num_left += 1

            def give(self, code, value):
                data = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/v1"

    def start(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def why_refused(self, body):
        if self.kind == "no-ids" and isinstance(body["prompt"], list):
            return "prompt must be a string"
        unknown = sorted(set(body) - OPENAI)
        return f"unknown fields {unknown}" if self.kind == "strict" and unknown else None

    def events(self, body):
        sampling = Sampling(
            max_new_tokens=body["max_tokens"],
            temperature=body["temperature"],
            top_p=body["top_p"],
            seed=body["seed"],
            stop_ids=tuple(body.get("stop_token_ids", ())),
            repetition_penalty=body.get("repetition_penalty", 1.0),
            top_logprobs=body.get("logprobs") or 0,
            grammar=self.grammar(body),
        )
        with self.one_at_a_time:
            yield from self.answer(body, sampling)

    def answer(self, body, sampling):
        for event in self.engine.events(body["prompt"], sampling):
            choice = {"index": 0, "text": event.text, "finish_reason": None}
            if self.kind == "ids":
                choice["token_ids"] = [token.id for token in event.logprobs]
                if body.get("logprobs") is not None:
                    choice["logprobs"] = {
                        "token_logprobs": [token.logprob for token in event.logprobs],
                        "top_logprobs": [
                            {f"token_id:{i}": value for i, _, value in token.top}
                            for token in event.logprobs
                        ],
                    }
            if event.generation is not None:
                is_cut = event.generation.stopped_by == "length"
                choice["finish_reason"] = "length" if is_cut else "stop"
            yield {"choices": [choice]}

    def grammar(self, body):
        if not self.heeds_grammar:
            return None
        if body.get("response_format"):
            return Grammar(
                "json_schema", json.dumps(body["response_format"]["json_schema"]["schema"])
            )
        wanted = body.get("structured_outputs", {}).get("choice") or body.get("guided_choice")
        return Grammar("choice", json.dumps(wanted)) if wanted else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    parser.add_argument("--lora-modules")
    known, _ = parser.parse_known_args()
    sys.stdout.write(f"serving {known.model}\n")
    sys.stdout.flush()
    if not Path(known.model).is_dir():
        raise SystemExit(f"no model in {known.model}")
    models = [{"id": known.served_model_name, "root": known.model, "max_model_len": 512}]
    if known.lora_modules:
        models.append({"id": known.lora_modules.partition("=")[0]})
    Completions(known.model, port=known.port, models=models).http.serve_forever()


if __name__ == "__main__":
    main()
