"""Logging in: the project, its credentials, the feature store and the cluster's variables."""

from __future__ import annotations

import base64
from typing import Any

from tests.hopsworks.metadata import PROJECT_ID, STORE_ID, USER, Metadata
from tests.hopsworks.routes import PROJECT, STORE, RefusedError, Routes
from tests.hopsworks.wire import Request

ACCOUNT = Routes()

VARIABLES = {
    "loadbalancer_external_domain_online_store_rest_server": "127.0.0.1",
    "enable_data_science_profile": "true",
    "enable_flyingduck": "false",
    "enable_bring_your_own_kafka": "false",
    "kube_kserve_installed": "false",
    "kube_serving_max_num_instances": "1",
    "kube_serving_min_num_instances": "0",
    "service_discovery_domain": "",
    "featurestore_online_tablespace": "",
}


@ACCOUNT.on("GET", "/project/getProjectInfo/{name}")
def project_info(state: Metadata, _request: Request, name: str) -> dict[str, Any]:
    if name != state.project:
        raise RefusedError(404, 150004, "Project wasn't found.", f"project {name}")
    return {"projectId": PROJECT_ID, "projectName": state.project, "owner": f"{USER}@localhost", "inodeid": 1}


@ACCOUNT.on("GET", "/project")
def projects(state: Metadata, _request: Request) -> list[dict[str, Any]]:
    user = {"username": USER, "email": f"{USER}@localhost", "uid": 10000}
    return [
        {"user": user, "project": {"id": PROJECT_ID, "name": state.project, "owner": user}, "teamRole": "Data owner"}
    ]


@ACCOUNT.on("GET", PROJECT + "/credentials")
def credentials(state: Metadata, _request: Request, project: str) -> dict[str, Any]:
    certificate, key = state.authority.signed(f"{state.project}__{USER}")
    empty = base64.b64encode(b"\xfe\xed\xfe\xed").decode()  # nobody opens the key stores of an external Kafka
    return {
        "fileExtension": "jks",
        "kStore": empty,
        "tStore": empty,
        "password": "unused",
        "caChain": state.authority.pem,
        "clientCert": certificate,
        "clientKey": key,
    }


@ACCOUNT.on("GET", "/variables/versions")
def versions(_state: Metadata, _request: Request) -> list[dict[str, str]]:
    return [{"software": "hopsworks", "version": "5.2.1"}]


@ACCOUNT.on("GET", "/variables/{name}")
def variable(state: Metadata, _request: Request, name: str) -> dict[str, str]:
    if name == "loadbalancer_external_domain_mysqld" and state.mysql:
        return {"successMessage": state.mysql.partition(":")[0]}
    if name not in VARIABLES:
        raise RefusedError(404, 100045, "Variable not found.", name)
    return {"successMessage": VARIABLES[name]}


@ACCOUNT.on("GET", PROJECT + "/featurestores")
def feature_stores(state: Metadata, request: Request, project: str) -> list[dict[str, Any]]:
    """List those that the project may read, as is asked where a feature group is not there."""
    return [feature_store(state, request, project, str(STORE_ID))]


@ACCOUNT.on("GET", PROJECT + "/featurestores/{name}")
def feature_store(state: Metadata, _request: Request, project: str, name: str) -> dict[str, Any]:
    if name not in (f"{state.project}_featurestore", str(STORE_ID)):
        raise RefusedError(404, 270091, "Featurestore wasn't found.", f"feature store {name}")
    return {
        "featurestoreId": STORE_ID,
        "featurestoreName": f"{state.project}_featurestore",
        "projectName": state.project,
        "projectId": PROJECT_ID,
        "onlineFeaturestoreName": state.project,
        "offlineFeaturestoreName": f"{state.project}_featurestore",
        "onlineEnabled": True,
        "onlineFeaturestoreSize": 0.0,
        "created": "2026-01-01T00:00:00Z",
        "numFeatureGroups": len(state.groups),
        "numFeatureViews": len(state.views),
    }


@ACCOUNT.on("GET", STORE + "/storageconnectors/kafka_connector/byok")
def kafka_connector(state: Metadata, _request: Request, project: str, store: str) -> dict[str, Any]:
    if not state.kafka:
        raise RefusedError(404, 270042, "Storage connector wasn't found.", "this cluster runs without Kafka")
    return {
        "id": 1,
        "name": "kafka_connector",
        "featurestoreId": STORE_ID,
        "storageConnectorType": "KAFKA",
        "type": "featureStoreKafkaConnectorDTO",
        "bootstrapServers": state.kafka,
        "securityProtocol": "PLAINTEXT",
        "sslEndpointIdentificationAlgorithm": "none",
        "externalKafka": True,
        "options": [],
    }


@ACCOUNT.on("GET", STORE + "/storageconnectors/onlinefeaturestore")
def online_connector(state: Metadata, _request: Request, project: str, store: str) -> dict[str, Any]:
    if not state.mysql:
        raise RefusedError(404, 270042, "Storage connector wasn't found.", "this cluster runs without SQL")
    return {
        "id": 2,
        "name": "onlinefeaturestore",
        "featurestoreId": STORE_ID,
        "storageConnectorType": "JDBC",
        "type": "featurestoreJdbcConnectorDTO",
        "connectionString": f"jdbc:mysql://{state.mysql}/{state.project}?useSSL=false&allowPublicKeyRetrieval=true",
        "arguments": [{"name": "user", "value": USER}, {"name": "password", "value": "unused"}],
    }
