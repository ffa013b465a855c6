"""deploy/kubernetes: of the form of the Kubernetes API, and true to the service and to docker-compose.yml.

Neither a cluster nor kubectl is needed: kubernetes-validate brings the schemas of the API. Where kubectl is
installed, it builds the folder.
"""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
VERSIONS = ["1.29", "1.37"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["service"]


def objects():
    read = [
        document
        for name in KUSTOMIZATION["resources"]
        for document in yaml.safe_load_all((FOLDER / name).read_text())
    ]
    return {(found["kind"], found["metadata"]["name"]): found for found in read}


OBJECTS = objects()
POD = OBJECTS["Deployment", "stconv"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
VARIABLES = {entry["name"]: entry.get("value") for entry in CONTAINER["env"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OBJECTS, ids="/".join)
def test_has_the_form_of_the_api(name, version):
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


def test_a_misspelled_field_would_be_noticed():
    broken = yaml.safe_load(yaml.safe_dump(OBJECTS["HorizontalPodAutoscaler", "stconv"]))
    broken["spec"]["minimumReplicas"] = broken["spec"].pop("minReplicas")
    with pytest.raises(kubernetes_validate.ValidationError, match="minimumReplicas"):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_every_file_is_used():
    assert {path.name for path in FOLDER.iterdir()} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_builds_the_folder():
    built = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    found = {document["kind"]: document for document in yaml.safe_load_all(built)}
    for document in found.values():
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.org/stconv_service:1"
    assert container["envFrom"] == [{"configMapRef": {"name": found["ConfigMap"]["metadata"]["name"]}}]


def test_all_select_the_pods_of_the_deployment():
    labels = POD["metadata"]["labels"]
    spec = {kind: found["spec"] for (kind, _), found in OBJECTS.items()}
    assert spec["Deployment"]["selector"]["matchLabels"] == labels
    assert spec["Service"]["selector"] == labels
    assert spec["PodDisruptionBudget"]["selector"]["matchLabels"] == labels
    assert spec["NetworkPolicy"]["podSelector"]["matchLabels"] == labels
    assert ("Deployment", spec["HorizontalPodAutoscaler"]["scaleTargetRef"]["name"]) in OBJECTS


def test_the_pod_is_confined_as_in_the_compose_set():
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    user = re.search(r"^USER (\d+)$", (ROOT / "docker/service.Dockerfile").read_text(), re.MULTILINE)
    assert POD["spec"]["securityContext"]["runAsUser"] == int(user[1])
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert CONTAINER["resources"]["limits"]["memory"] == COMPOSE["mem_limit"].replace("g", "Gi")


def test_what_the_service_writes_to_is_a_volume():
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in POD["spec"]["volumes"]}
    (folder,) = re.findall(
        r"^WORKDIR (/home.*)$", (ROOT / "docker/service.Dockerfile").read_text(), re.MULTILINE
    )
    written = {"/tmp", "/var/cache/stconv", folder, VARIABLES["STCONV_SERVE_STATE"]}
    for folder in written | {VARIABLES["STCONV_SERVE_SECRETS"], VARIABLES["STCONV_SERVE_DATA"]}:
        assert any(folder == path or folder.startswith(f"{path}/") for path in mounts), folder
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in POD["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {name for kind, name in OBJECTS if kind == "PersistentVolumeClaim"}


def test_the_state_is_shared_by_pods_on_several_machines():
    assert VARIABLES["STCONV_SERVE_SHARED"] == "true"
    assert OBJECTS["PersistentVolumeClaim", "stconv-state"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_settings_and_command_are_those_of_the_service():
    names = {name for name in VARIABLES if name.startswith("STCONV_SERVE_")}
    assert {name.removeprefix("STCONV_SERVE_").lower() for name in names} <= set(Settings.model_fields)
    assert set(CONTAINER["args"]) == {
        re.sub(r"\$\{(\w+):.*\}", r"$(\1)", word) for word in COMPOSE["command"]
    }
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    given = {literal.partition("=")[0] for literal in generated["literals"]} | set(VARIABLES)
    used = re.findall(r"\$\((\w+)\)", " ".join([*CONTAINER["args"], *filter(None, VARIABLES.values())]))
    assert set(used) <= given
    assert "MLFLOW_TRACKING_URI" in given


def test_probes_ask_routes_that_need_no_key_and_by_a_name_that_is_accepted():
    (port,) = CONTAINER["ports"]
    routes = create_app(Settings()).openapi()["paths"]
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = CONTAINER[kind]["httpGet"]
        assert asked["port"] == port["name"]
        assert not routes[asked["path"]]["get"].get("security")
    assert "$(POD_IP)" in VARIABLES["STCONV_SERVE_ALLOWED_HOSTS"].split(",")
    assert f"--port={port['containerPort']}" in CONTAINER["args"]


def test_a_pod_gets_more_time_to_stop_than_a_request_has():
    settings = Settings()
    assert POD["spec"]["terminationGracePeriodSeconds"] > settings.deadline_seconds
    assert (
        POD["spec"]["terminationGracePeriodSeconds"] > settings.drain_seconds + settings.drain_notice_seconds
    )


def test_the_number_of_pods_follows_a_metric_of_the_service():
    from service.telemetry.metrics import Metrics

    scaler = OBJECTS["HorizontalPodAutoscaler", "stconv"]["spec"]
    (metric,) = scaler["metrics"]
    assert metric["pods"]["metric"]["name"] in Metrics().text().decode()
    assert int(metric["pods"]["target"]["averageValue"]) < Settings().queue_size
    assert scaler["minReplicas"] >= 2
    assert "replicas" not in OBJECTS["Deployment", "stconv"]["spec"], "the autoscaler's"


def test_only_the_ingress_and_prometheus_come_in():
    policy = OBJECTS["NetworkPolicy", "stconv"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in [*policy["ingress"], *policy["egress"]]:
        assert rule["ports"]
        assert all("namespaceSelector" in peer for peer in rule.get("from", rule.get("to")))


def test_the_guide_names_what_the_folder_has():
    guide = (ROOT / "docs/how-to/containers.md").read_text()
    secret = next(volume["secret"] for volume in POD["spec"]["volumes"] if "secret" in volume)
    assert f"create secret generic {secret['secretName']} --from-file=stconv_serve_api_keys=" in guide
    assert "api_keys" in Settings.model_fields
    assert f"namespace {KUSTOMIZATION['namespace']}\n" in guide
    assert f"{POD['spec']['terminationGracePeriodSeconds']} s" in guide
