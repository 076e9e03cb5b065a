"""What is still to be done, and how long that takes: a progress line before each step, with an honest estimate."""

import sys
import time


class Progress:
    """`planned` is the sum of the seconds of all steps. The estimate follows what the steps so far really took."""

    def __init__(self, planned, clock=time.monotonic, out=sys.stderr):
        self.planned, self.done, self.clock, self.out = planned, 0.0, clock, out
        self.started = clock()

    def left_seconds(self):
        elapsed = self.clock() - self.started
        pace = elapsed / self.done if self.done else 1.0
        return max(0.0, self.planned - self.done) * pace

    def step(self, seconds, text):
        """A step that was planned to take `seconds` is over; `text` says what came out."""
        self.done += seconds
        minutes, rest = divmod(round(self.left_seconds()), 60)
        share = min(100, round(100 * self.done / self.planned)) if self.planned else 100
        print(f"{share:>3} % {minutes:>3}:{rest:02} left  {text}", file=self.out, flush=True)
