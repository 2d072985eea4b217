"""The fraud application: a payment goes in, the probability that it is fraudulent comes out."""

from __future__ import annotations

from applications.fraud.features import FRAUD_VIEW, LABEL_DELAY_MS, WITHOUT_ON_DEMAND, WITHOUT_WINDOWS
from headrace.application import Application, Output
from headrace.features.columns import DAY, HOUR, Column
from headrace.features.streams import Stream

PAYMENTS = Stream(
    "payments",
    (
        Column("tid", "string", required=False, meaning="The payment's id."),
        Column("cc_num", "int64", meaning="The card."),
        Column("terminal_id", "int64", meaning="The terminal."),
        Column("datetime", "timestamp", meaning="When the payment was made."),
        Column("amount", low=0.0, high=1e12, meaning="The amount paid."),
        Column("latitude", unit="degree", low=-90, high=90, required=False, meaning="Where it was made."),
        Column("longitude", unit="degree", low=-180, high=180, required=False, meaning="Where it was made."),
        Column("card_present", "bool", required=False, meaning="Whether the card was read."),
        Column("category", "string", required=False, meaning="What was bought."),
    ),
    id="tid",
    horizon_ms=HOUR,  # a producer tries again for minutes, one that is restarted sends its last minutes again
)

LABELS = Stream(
    "labels",
    (
        Column("tid", "string", required=False, meaning="The payment's id."),
        Column("cc_num", "int64", required=False, meaning="The card."),
        Column("terminal_id", "int64", meaning="The terminal."),
        Column("datetime", "timestamp", meaning="When the payment was made; its label comes seven days later."),
        Column("fraud_label", "bool", meaning="Whether the payment turned out fraudulent."),
    ),
    id="tid",
    horizon_ms=DAY,  # labels come in files of a day, and a file is sent again whole
)

APP = Application(
    name="fraud",
    view=FRAUD_VIEW,
    streams=(PAYMENTS, LABELS),
    outputs=(Output("fraud_probability"),),
    label="fraud_label",
    label_stream="labels",
    label_delay_ms=LABEL_DELAY_MS,
    data="applications.fraud.data:payments",
    train="applications.fraud.model:train",
    baseline="applications.fraud.model:logistic_baseline",
    measure="applications.fraud.metrics:metrics",
    ablations={"without windows": WITHOUT_WINDOWS, "without on-demand": WITHOUT_ON_DEMAND},
)
