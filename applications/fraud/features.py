"""How a card and a terminal have been used, and what a payment looks like beside that.

Bursts of small payments and sudden changes of amount or place are the oldest signs of a
stolen card; a terminal whose payments turned out fraudulent is the sign of a skimmer.
Labels are known seven days after the payment, so the terminal's windows are delayed by seven days.
"""

from __future__ import annotations

from headrace.features import DAY, HOUR, MINUTE, Column, FeatureView, OnDemand, Window, WindowedGroup
from headrace.features.calendar import hour_cos, hour_sin, is_night, is_weekend, weekday_cos, weekday_sin
from headrace.features.comparisons import ratio, seconds_since, z_score
from headrace.features.geo import haversine_km, speed_kmh

LABEL_DELAY_MS = 7 * DAY
MISSING = -1.0  # below any amount, distance, time or share, so that a model can tell it from a value

CARD_ACTIVITY = WindowedGroup(
    name="card_activity",
    version=1,
    stream="payments",
    key="cc_num",
    time="datetime",
    value="amount",
    stats=("count", "mean", "std", "min", "max"),
    windows=(
        Window("10m", 10 * MINUTE),
        Window("1h", HOUR),
        Window("24h", DAY),
        Window("7d", 7 * DAY),
        Window("30d", 30 * DAY),
    ),
    last=("latitude", "longitude", "datetime", "amount"),
    missing=MISSING,
    meaning="How the card was used lately, and where and when it was used last.",
)

TERMINAL_RISK = WindowedGroup(
    name="terminal_risk",
    version=1,
    stream="labels",
    key="terminal_id",
    time="datetime",
    value="fraud_label",
    stats=("count", "mean"),
    windows=(
        Window("1d", DAY, delay_ms=LABEL_DELAY_MS),
        Window("7d", 7 * DAY, delay_ms=LABEL_DELAY_MS),
        Window("30d", 30 * DAY, delay_ms=LABEL_DELAY_MS),
    ),
    missing=MISSING,
    meaning="How many payments the terminal took, and which share was fraudulent, as known seven days later.",
)

REQUEST = (
    Column("cc_num", "int64", meaning="The card."),
    Column("terminal_id", "int64", meaning="The terminal."),
    Column("datetime", "timestamp", required=False, meaning="When the payment is made; now, where absent."),
    Column("amount", low=0.0, high=1e12, missing=MISSING, meaning="The amount to be paid."),
    Column("latitude", unit="degree", low=-90, high=90, required=False, meaning="Where the payment is made."),
    Column("longitude", unit="degree", low=-180, high=180, required=False, meaning="Where the payment is made."),
    Column(
        "card_present", "bool", low=0, high=1, required=False, missing=MISSING, meaning="Whether the card was read."
    ),
    Column("category", "string", required=False, meaning="What is bought; carried, not read by the model."),
)

_LAST_PLACE = ("card_activity.last_latitude", "card_activity.last_longitude")
_PLACE = ("request.latitude", "request.longitude")
_NOW = ("request.datetime",)

ON_DEMAND = (
    OnDemand(
        "distance_from_last_km", haversine_km, (*_LAST_PLACE, *_PLACE), "km", MISSING, "Distance from the last payment."
    ),
    OnDemand(
        "seconds_since_last",
        seconds_since,
        ("card_activity.last_datetime", *_NOW),
        "s",
        MISSING,
        "Time since the last payment.",
    ),
    OnDemand(
        "speed_from_last_kmh",
        speed_kmh,
        (*_LAST_PLACE, "card_activity.last_datetime", *_PLACE, *_NOW),
        "km/h",
        MISSING,
        "Speed needed from the last payment to this one.",
    ),
    OnDemand("hour_sin", hour_sin, _NOW, meaning="Time of day on the circle."),
    OnDemand("hour_cos", hour_cos, _NOW, meaning="Time of day on the circle."),
    OnDemand("weekday_sin", weekday_sin, _NOW, meaning="Weekday on the circle."),
    OnDemand("weekday_cos", weekday_cos, _NOW, meaning="Weekday on the circle."),
    OnDemand("is_weekend", is_weekend, _NOW, meaning="1 on Saturday and Sunday."),
    OnDemand("is_night", is_night, _NOW, meaning="1 from midnight until six."),
    OnDemand(
        "amount_over_mean_24h",
        ratio,
        ("request.amount", "card_activity.amount_mean_24h"),
        "",
        MISSING,
        "Amount over the day's mean.",
    ),
    OnDemand(
        "amount_zscore_7d",
        z_score,
        ("request.amount", "card_activity.amount_mean_7d", "card_activity.amount_std_7d"),
        "",
        -100.0,  # below any likely score; -1 is an ordinary one
        "How unusual the amount is for the card's week.",
    ),
)

WINDOWED = tuple(
    f"{group.name}.{column}"
    for group in (CARD_ACTIVITY, TERMINAL_RISK)
    for column in group.column_names
    if not column.startswith("last_")
)

FRAUD_VIEW = FeatureView(
    name="fraud",
    version=1,
    request=REQUEST,
    groups=(CARD_ACTIVITY, TERMINAL_RISK),
    columns=("request.amount", "request.card_present", *WINDOWED, *ON_DEMAND),
)

_WINDOWED_NAMES = tuple(source.partition(".")[2] for source in WINDOWED)

#: What a view without windows lacks: every statistic over a window, and what is computed from one.
WITHOUT_WINDOWS = (*_WINDOWED_NAMES, "amount_over_mean_24h", "amount_zscore_7d")
WITHOUT_ON_DEMAND = tuple(feature.name for feature in ON_DEMAND)
