"""Timing that treats all alike on a machine that others use too.

Contestants take turns in rounds, in a new order each round, so that noise hits all alike. Each
turn starts with one untimed question, which brings its data back into the processor's caches.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(slots=True)
class Contestant:
    """Who is asked what: `ask` is timed with its answer in the caller's hands.

    `cpu` returns the seconds of processors that who searches has used so far, NaN if unknown.
    """

    labels: dict[str, Any]
    ask: Callable[[Any], Any]
    questions: Sequence[Any]
    cpu: Callable[[], float] = lambda: math.nan
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    answers: dict[int, Any] = field(default_factory=dict)
    turn: int = 1

    def play(self, count: int) -> None:
        self.ask(self.questions[(len(self.seconds) - 1) % len(self.questions)])
        for _ in range(count):
            number = len(self.seconds) % len(self.questions)
            cpu, started = self.cpu(), time.perf_counter()
            answer = self.ask(self.questions[number])
            self.seconds.append(time.perf_counter() - started)
            self.cpu_seconds.append(self.cpu() - cpu)
            self.answers.setdefault(number, answer)

    def pace(self) -> float:
        """Warm up, and return the seconds that a question takes."""
        taken = []
        for question in self.questions[:6]:
            started = time.perf_counter()
            self.ask(question)
            taken.append(time.perf_counter() - started)
            if sum(taken) > 2:
                break
        return min(taken)

    def latency(self) -> dict[str, Any]:
        p50, p95 = np.percentile(np.array(self.seconds) * 1000, [50, 95])
        found = {"asked": len(self.seconds), "p50_ms": round(p50, 4), "p95_ms": round(p95, 4)}
        cpu = float(np.median(self.cpu_seconds)) * 1000
        return found if math.isnan(cpu) else found | {"cpu_p50_ms": round(cpu, 4)}


def hold(
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    budget: float,
    least: int = 10,
    random: np.random.Generator,
) -> None:
    """Let all answer their questions, each for about `budget` seconds and at least `least`."""
    for one in contestants:
        wanted = budget / max(one.pace(), 1e-6)
        one.turn = -(-int(min(max(wanted, least), len(one.questions))) // rounds)
    for _ in range(rounds):
        for place in random.permutation(len(contestants)):
            contestants[place].play(contestants[place].turn)
