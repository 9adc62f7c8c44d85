"""Follows a board with a library that is not ours, as its own documents show, and prints each event as a line of JSON.

    follow.py LIBRARY URL

It reconnects from the cursor of the last event until the stream says that it ends for good. tests/it/foreign_clients reads the lines.
"""

import asyncio
import json
import signal
import sys
import time

import httpx
import httpx_sse
import requests
import sseclient
import websockets

# Whatever happens to the test, this ends.
signal.alarm(120)


class Followed:
    """What a client remembers between two connections."""

    def __init__(self):
        self.cursor = None
        self.wait_s = 0.05
        self.over = False

    def headers(self, media_type):
        headers = {"Accept": media_type}
        if self.cursor:
            headers["Last-Event-ID"] = self.cursor
        return headers

    def take(self, event, cursor, data, retry_ms=None):
        """Prints an event. Returns whether more may follow on this connection."""
        print(json.dumps({"event": event, "id": cursor, "data": data}), flush=True)
        if cursor:
            self.cursor = cursor
        if retry_ms is not None:
            self.wait_s = retry_ms / 1000
        if event == "bye":
            self.over = json.loads(data)["reason"] in ("gone", "auth")
        return event != "bye"


def follow_with_httpx_sse(url, followed):
    with httpx.Client(timeout=30) as client:
        with httpx_sse.connect_sse(client, "GET", url, headers=followed.headers("text/event-stream")) as source:
            source.response.raise_for_status()
            for event in source.iter_sse():
                if not followed.take(event.event, event.id, event.data, event.retry):
                    return


def follow_with_sseclient(url, followed):
    with requests.get(url, stream=True, headers=followed.headers("text/event-stream"), timeout=30) as response:
        response.raise_for_status()
        for event in sseclient.SSEClient(response).events():
            retry_ms = int(event.retry) if event.retry else None
            if not followed.take(event.event, event.id, event.data, retry_ms):
                return


def follow_with_requests(url, followed):
    """Reads lines of JSON, which takes no library for streams."""
    with requests.get(url, stream=True, headers=followed.headers("application/x-ndjson"), timeout=30) as response:
        response.raise_for_status()
        response.encoding = "utf-8"
        for line in response.iter_lines(decode_unicode=True):
            # An empty line is a heartbeat.
            if line:
                take_line(followed, line)


def follow_with_websockets(url, followed):
    asyncio.run(follow_socket(url, followed))


async def follow_socket(url, followed):
    if followed.cursor:
        url += f"?last_event_id={followed.cursor}"
    async with websockets.connect(url) as socket:
        async for message in socket:
            take_line(followed, message)


def take_line(followed, line):
    event = json.loads(line)
    followed.take(event["event"], event.get("id"), json.dumps(event["data"]), event.get("retry_ms"))


LIBRARIES = {
    "httpx-sse": follow_with_httpx_sse,
    "sseclient-py": follow_with_sseclient,
    "requests": follow_with_requests,
    "websockets": follow_with_websockets,
}
LOST = (OSError, httpx.TransportError, requests.RequestException, websockets.WebSocketException)


def main():
    library, url = sys.argv[1:]
    followed = Followed()
    while not followed.over:
        try:
            LIBRARIES[library](url, followed)
        except LOST as lost:
            print(f"{library}: {lost!r}", file=sys.stderr)
        time.sleep(followed.wait_s)


main()
