"""The gateway that most teams write first: FastAPI, a pooled httpx client, and Presidio's pattern recognisers over every
string of every message. It is the naive end of the side-by-side comparison, written the way such gateways are: parse,
walk, analyse, replace, serialise again, log a line of JSON.

No language model is loaded, which would only make it slower: names and places are not looked for, as Tidegate does not
look for them either.

    NAIVE_UPSTREAM=http://127.0.0.1:3001/mcp NAIVE_LOG=calls.jsonl uvicorn naive_gateway:app
"""

import contextlib
import hashlib
import json
import os
import time

import httpx
from fastapi import FastAPI, Request, Response
from presidio_analyzer import Pattern, PatternRecognizer
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    CryptoRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    UsItinRecognizer,
    UsSsnRecognizer,
)

UPSTREAM = os.environ["NAIVE_UPSTREAM"]
UPSTREAM_SECONDS = 30.0
UPSTREAM_CONNECTIONS = 64
SCORE_MIN = 0.4  # Presidio's scores: below are patterns that need words around them to mean anything
SENT_ON = ("accept", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id")

SECRETS = {
    "AWS_ACCESS_KEY": r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b",
    "GITHUB_TOKEN": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{82})\b",
    "SLACK_TOKEN": r"\bxox[abprs]-[A-Za-z0-9-]{10,}\b",
    "STRIPE_KEY": r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}\b",
    "GOOGLE_API_KEY": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "OPENAI_KEY": r"\bsk-(?:proj-)?[A-Za-z0-9_-]{20,}\b",
    "JWT": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "PRIVATE_KEY": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}

RECOGNIZERS = [
    CreditCardRecognizer(),
    CryptoRecognizer(),
    EmailRecognizer(),
    IbanRecognizer(),
    IpRecognizer(),
    PhoneRecognizer(supported_regions=("US", "GB", "DE")),
    UsItinRecognizer(),
    UsSsnRecognizer(),
    *(
        PatternRecognizer(supported_entity=kind, patterns=[Pattern(kind.lower(), regex, 0.9)])
        for kind, regex in SECRETS.items()
    ),
]


def redact_text(text, found):
    """Replaces what is found from the end to the start, so that offsets stay right; of overlapping ones the first."""
    hits = []
    for recognizer in RECOGNIZERS:
        results = recognizer.analyze(text, recognizer.supported_entities, None) or []
        hits += [(r.start, r.end, r.entity_type) for r in results if r.score >= SCORE_MIN]
    kept, last = [], 0
    for start, end, kind in sorted(hits):
        if start >= last:
            kept.append((start, end, kind))
            last = end
    for start, end, kind in reversed(kept):
        text = f"{text[:start]}<{kind}>{text[end:]}"
        found.append(kind)
    return text


def redact(value, found):
    if isinstance(value, str):
        return redact_text(value, found)
    if isinstance(value, list):
        return [redact(item, found) for item in value]
    if isinstance(value, dict):
        return {key: redact(item, found) for key, item in value.items()}
    return value


def redact_message(message, found):
    """The envelope is the protocol's; what a client or a tool wrote is in these."""
    for part in ("params", "result", "error"):
        if part in message:
            meta = message[part].get("_meta") if isinstance(message[part], dict) else None
            message[part] = redact(message[part], found)
            if meta is not None:
                message[part]["_meta"] = meta
    return message


def redact_events(text, found):
    lines = []
    for line in text.split("\n"):
        if line.startswith("data: "):
            line = "data: " + json.dumps(redact_message(json.loads(line[6:]), found))
        lines.append(line)
    return "\n".join(lines)


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextlib.asynccontextmanager
async def lifespan(app):
    limits = httpx.Limits(max_connections=UPSTREAM_CONNECTIONS, max_keepalive_connections=UPSTREAM_CONNECTIONS)
    async with httpx.AsyncClient(timeout=UPSTREAM_SECONDS, limits=limits) as client:
        app.state.client = client
        with open(os.environ["NAIVE_LOG"], "a") as log:
            app.state.log = log
            yield


app = FastAPI(lifespan=lifespan)


@app.post("/mcp/{server}")
async def call(server: str, request: Request):
    started = time.time()
    found_in_request, found_in_result = [], []
    message = redact_message(await request.json(), found_in_request)
    headers = {name: request.headers[name] for name in SENT_ON if name in request.headers}
    answer = await request.app.state.client.post(UPSTREAM, json=message, headers=headers)
    media_type = answer.headers.get("content-type", "application/json")
    if media_type.startswith("text/event-stream"):
        body = redact_events(answer.text, found_in_result)
    else:
        body = json.dumps(redact_message(answer.json(), found_in_result))
    record = {
        "timestamp": started,
        "server": server,
        "method": message.get("method"),
        "tool": (message.get("params") or {}).get("name"),
        "args_hash": digest((message.get("params") or {}).get("arguments")),
        "response_hash": hashlib.sha256(body.encode()).hexdigest(),
        "redactions": found_in_request + found_in_result,
        "latency_ms": (time.time() - started) * 1e3,
    }
    request.app.state.log.write(json.dumps(record) + "\n")
    request.app.state.log.flush()
    return Response(body, status_code=answer.status_code, media_type=media_type)
