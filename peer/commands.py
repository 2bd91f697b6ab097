"""What a running peer does at its volunteer's command: pause, resume, stop, tell."""

from __future__ import annotations

import threading

from peer.door import Door
from peer.neighbour import Pause
from swarm.control import Answer, Handler


def handler(door: Door, stopping: threading.Event) -> Handler:
    """Answers the requests {"do": "pause", "seconds": 0}, {"do": "resume"}, {"do": "stop"} and {"do": "tell"}."""

    def answer(request: Answer) -> Answer:
        match request["do"]:
            case "pause":
                door.pause(float(request.get("seconds", 0)))
            case "resume":
                door.resume()
            case "stop":
                stopping.set()
                return {"says": "leaving"}
            case "tell":
                pass
            case unknown:
                return {"error": f"This peer does not know {unknown!r}."}
        return {"says": _said(door)}

    return answer


def _said(door: Door) -> str:
    decision = door.decision()
    if isinstance(decision, Pause):
        return str(decision)
    return f"training, until {decision.until:%H:%M}" if decision.until else "training"
