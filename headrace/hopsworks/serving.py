"""What a reader has to know of a view of tiles, found out from the SDK's objects once, when it starts.

Where each group's tiles stand in a vector and what its key is called in an entry are the cluster's
to say; a view that cannot serve what is declared is refused with what differs.
"""

from __future__ import annotations

import ssl
from typing import Any

from headrace.features.streams import Stream
from headrace.hopsworks.declared import TILES, Declared, FeatureGroup
from headrace.hopsworks.session import Session
from headrace.hopsworks.session_faults import HopsworksError
from headrace.stores.rondb.client import PORT, Address
from headrace.stores.rondb.view import TilesColumn, TilesView

_SUFFIX = "_featurestore"


class NotServable(HopsworksError):
    """A feature view is absent, or of another shape than what is declared; the text says how."""


def found_view(session: Session, declared: Declared) -> Any:
    """Return the SDK's feature view of an application's tiles; raises NotServable where there is none."""
    name, version = declared.tiles_view.name, declared.tiles_view.version
    with session.asking(f"read feature view {name}"):
        view = session.feature_store.get_feature_view(name, version)
    if view is None:
        raise NotServable(f"view {name} version {version} is absent: {_remedy(declared)}")
    return view


def tiles_view(view: Any, feature_store: str, declared: Declared, *, of_vectors: bool = False) -> TilesView:
    """Return where a feature view of the SDK's has the tiles of every declared group; raises NotServable.

    Positions are those in the server's answer, or in the SDK's vectors, which lack the helper columns.
    """
    features = [feature for feature in view.features if not feature.label]
    if not features:
        raise _unlike(declared, "it has only labels, needs the tiles of " + _listed(declared))
    if of_vectors:
        features = [f for f in features if not (f.inference_helper_column or f.training_helper_column)]
    columns = tuple(_column(view, features, group, declared) for group in declared.groups)
    name = feature_store.removesuffix(_SUFFIX)
    return TilesView(name, view.name, view.version, len(features), columns, declared.application)


def address(session: Session, host: str = "", port: int = 0, *, tls: bool = True) -> Address:
    """Return where the cluster's RonDB REST server is: as given, else as the cluster says.

    Its certificate is checked against the authorities that the cluster gave at log-in.
    """
    from hopsworks_common.core.variable_api import VariableApi  # type: ignore[import-untyped]

    if not host:
        with session.asking("ask where its RonDB REST server is"):
            host = VariableApi()._get_loadbalancer_external_domain("online_store_rest_server")
    context = None
    if tls:
        chain, own = session.folder / "ca_chain.pem", session.settings.ca_file
        try:
            context = ssl.create_default_context(cafile=str(chain))
            if own:
                context.load_verify_locations(own)
        except OSError as unread:  # ssl.SSLError is one
            raise HopsworksError(
                f"the authorities for RonDB's certificate, of {own or chain.name}, cannot be read "
                f"({unread.strerror or type(unread).__name__}), needs PEM files"
            ) from unread
    return Address(host, port or PORT, context)


def _column(view: Any, features: list[Any], group: FeatureGroup, declared: Declared) -> TilesColumn:
    assert not isinstance(group.of, Stream)  # the groups of a declaration are windowed
    at = [place for place, feature in enumerate(features) if _is_of(feature, group) and _origin(feature) == TILES]
    if not at:
        held = ", ".join(feature.name for feature in features)
        raise _unlike(declared, f"it has {held}, needs {TILES} of {group.name} version {group.version}")
    feature = features[at[0]]
    if feature.type != "binary":
        raise _unlike(declared, f"its column {feature.name} is {feature.type}, needs binary")
    if not feature.feature_group.online_enabled:
        raise _unlike(declared, f"feature group {group.name} is not online-enabled, needs it to be")
    keys = [key for key in view.serving_keys if key.feature_group.id == feature.feature_group.id]
    wanted = group.primary_key
    if tuple(key.feature_name for key in keys) != wanted:
        names = ", ".join(key.feature_name for key in keys) or "nothing"
        raise _unlike(declared, f"{group.name} is read by {names}, needs {', '.join(wanted)}")
    textual = next(f for f in group.features if f.primary).type == "string"
    return TilesColumn(group.of, at[0], str(keys[0].required_serving_key), textual)


def _is_of(feature: Any, group: FeatureGroup) -> bool:
    source = feature.feature_group
    return source is not None and (source.name, source.version) == (group.name, group.version)


def _origin(feature: Any) -> str:
    return str(feature.feature_group_feature_name or feature.name)


def _unlike(declared: Declared, how: str) -> NotServable:
    view = declared.tiles_view
    return NotServable(f"view {view.name} version {view.version} is of another shape: {how}; {_remedy(declared)}")


def _listed(declared: Declared) -> str:
    return ", ".join(group.name for group in declared.groups)


def _remedy(declared: Declared) -> str:
    return f"run headrace hopsworks apply {declared.application}"
