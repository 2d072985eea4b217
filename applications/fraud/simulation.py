"""Simulated payments, by synccfd (MIT): cards in Brazilian cities and four kinds of fraud.

Large amounts; terminals that are compromised for four weeks; card numbers stolen and used
from afar; cards stolen and emptied within a day. The place of a payment is the terminal's
where the card was present, and the shipping address' where it was not.

The simulator begins with no terminal compromised and ends a compromise after 28 days, which
labels of a week's delay tell by day 35. Sixty days leave a period to learn from and a period to
hold out in which terminals are compromised and recover at the same pace; in forty the
held-out days would show recoveries that no model has seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

#: Raised whenever the table below is made otherwise from the same parameters.
REVISION = 1
FIRST_CARD = 4_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated: so many cards and terminals, for so many days, from one seed."""

    cards: int = 3_000
    terminals: int = 5_000
    days: int = 60
    start: str = "2026-01-01"
    seed: int = 42

    @property
    def digest(self) -> str:
        """Names the table these parameters give."""
        written = json.dumps([asdict(self), REVISION], sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()[:12]

    def describe(self) -> str:
        """Return the parameters as a phrase."""
        return f"{self.cards} cards, {self.terminals} terminals, {self.days} days from {self.start}, seed {self.seed}"


DEFAULT = Simulation()


def simulate(wanted: Simulation, progress: Callable[[str, float], None] | None = None) -> pa.Table:
    """Return simulated payments, sorted by time; the same parameters give the same payments."""
    from synccfd import DatasetGenerator  # pulls in geopandas: only where payments are simulated

    told = _Bars(progress) if progress else io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        generator = DatasetGenerator(
            n_customers=wanted.cards,
            n_terminals=wanted.terminals,
            nb_days=wanted.days,
            start_date=wanted.start,
            random_state=wanted.seed,
        )
        _, _, given = generator.generate()
    # Scenarios move payments to other instants after the ids were given: sort and number again.
    given = given.sort_values(["TX_DATETIME", "TRANSACTION_ID"], kind="stable")
    present = (given["TX_TYPE"] == "CP").to_numpy()
    place = {
        name: np.where(present, given[f"TX_TERM_{axis}"], given[f"TX_SHIPP_{axis}"]).astype(np.float64)
        for name, axis in (("latitude", "LAT"), ("longitude", "LONG"))
    }
    return pa.table(
        {
            "tid": np.arange(len(given), dtype=np.int64),
            "cc_num": given["CUSTOMER_ID"].to_numpy(np.int64) + FIRST_CARD,
            "terminal_id": given["TERMINAL_ID"].to_numpy(np.int64),
            "datetime": pa.array(given["TX_DATETIME"].to_numpy().astype("datetime64[ms]")),
            "amount": given["TX_AMOUNT"].round(2).to_numpy(np.float64),
            **place,
            "card_present": present,
            "category": pa.nulls(len(given), pa.string()),
            "fraud_label": given["TX_FRAUD"].to_numpy(np.int8),
        }
    )


class _Bars(io.StringIO):
    """Takes the simulator's progress bars and tells how far its longest step is."""

    def __init__(self, progress: Callable[[str, float], None]) -> None:
        super().__init__()
        self._progress = progress

    def write(self, text: str) -> int:
        if "Generating transactions" in text and "%" in text:
            share = text.split("%")[0].rsplit(" ", 1)[-1].strip()
            if share.isdecimal():
                self._progress("simulating payments", int(share) / 100)
        return len(text)
