"""A program that takes the command line of vLLM's server and answers as a defect of its would; first argument: how.

`#!/bin/sh` around it stands for the interpreter of an environment with vLLM. It has no model: what it is asked for is
refused, or answered wrongly.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KIND = sys.argv[1]
PORT = next(int(word.partition("=")[2]) for word in sys.argv if word.startswith("--port="))
LENGTH = 4


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/completions":
            self.answer({"choices": [self.completion(body)]})
        else:
            self.answer({"success": KIND != "keeps its cache"})

    def completion(self, body):
        if KIND == "dies in a batch":
            print("RuntimeError: out of memory", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        choice = {
            "prompt_token_ids": body["prompt"],
            "token_ids": [1] * LENGTH,
            "logprobs": {"token_logprobs": [-1.0] * LENGTH},
            "finish_reason": "stop",
        }
        return choice | {
            "another prompt": {"prompt_token_ids": [0, *body["prompt"]]},
            "a token that is none": {"token_ids": [10**6] * LENGTH},
            "a log-prob too few": {"logprobs": {"token_logprobs": [-1.0]}},
            "a log-prob that is NaN": {"logprobs": {"token_logprobs": [float("nan")] * LENGTH}},
            "text alone": {"token_ids": None},
            "an end before the limit that none is": {"finish_reason": "length"},
        }.get(KIND, {})

    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(500 if KIND == "refuses" and self.command == "POST" else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        pass


if KIND == "does not start":
    sys.exit("ValueError: no such model")
ThreadingHTTPServer(("127.0.0.1", PORT), Server).serve_forever()
