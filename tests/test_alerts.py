"""docker/alerts.yml and the dashboard: every alert is tested by promtool, and asks for metrics that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from service.archive.stores import unix_time
from service.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "docker/alerts.yml"
CASES = ROOT / "tests/alerts.yml"
DASHBOARD = json.loads((ROOT / "docker/grafana-dashboard.json").read_text())
FROM_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
"""Series that Prometheus itself writes, with their labels."""
ADDED = {"job", "instance"}
"""Labels that Prometheus adds to every metric."""


def rules():
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def run_promtool(*arguments):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; in Debian it comes with the package prometheus")
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)


def metrics_with_labels():
    """Labels of each metric of the service, by its name in Prometheus."""
    metrics = Metrics()
    known = dict(FROM_PROMETHEUS)
    for collector, names in metrics.registry._collector_to_names.items():
        labels = set(collector._labelnames) | ADDED
        known |= {name: labels | ({"le"} if name.endswith("_bucket") else set()) for name in names}
    return known


def test_every_alert_fires_when_it_should():
    found = run_promtool("test", "rules", str(CASES))
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_configuration_of_prometheus_is_one():
    configuration = ROOT / "docker/prometheus.yml"
    found = run_promtool("check", "config", "--syntax-only", str(configuration))
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_rule_that_never_fires_is_noticed(tmp_path):
    rule = "stconv_model_ready == 0"
    (tmp_path / "rules.yml").write_text(RULES.read_text().replace(rule, f"{rule} > 1"))
    cases = tmp_path / "cases.yml"
    cases.write_text(CASES.read_text().replace("../docker/alerts.yml", "rules.yml"))
    found = run_promtool("test", "rules", str(cases))
    assert found.returncode == 1
    assert "alertname: ModelNotReady" in found.stdout + found.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    cases = yaml.safe_load(CASES.read_text())["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == names
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == names


def expressions():
    for rule in rules():
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_metrics_and_labels_that_exist(expression):
    known = metrics_with_labels()
    asked = re.findall(r"\b(?:stconv_\w+|up|ALERTS)\b", re.sub(r'"[^"]*"', '""', expression))
    assert asked
    assert set(asked) <= set(known)
    for name, selector in re.findall(r"\b(\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', '""', selector))) <= known[name], name
    of_all = set.union(*(known[name] for name in asked))
    for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= of_all


def test_a_legend_names_labels_of_its_metric():
    known = metrics_with_labels()
    assert len(DASHBOARD["panels"]) >= 8
    for target in [target for panel in DASHBOARD["panels"] for target in panel["targets"]]:
        first = re.search(r"\b(?:stconv_\w+|ALERTS)\b", target["expr"])[0]
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known[first], target


def test_every_alert_names_a_part_of_the_runbooks():
    titles = re.findall(r"^## (.+)$", (ROOT / "docs/how-to/runbooks.md").read_text(), re.MULTILINE)
    for rule in rules():
        page, _, title = rule["annotations"]["runbook"].partition(": ")
        assert page == "docs/how-to/runbooks.md"
        assert title in {title.lower() for title in titles}, title


def test_the_dashboard_shows_the_goals_that_the_service_states():
    goals = [panel for panel in DASHBOARD["panels"] if panel["title"].startswith("Goal: ")]
    assert [panel["title"] for panel in goals] == ["Goal: availability", "Goal: latency", "Goal: archive age"]
    limits = [panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] for panel in goals]
    assert limits == [0.995, 0.99, 4]
    stated = (ROOT / "docs/how-to/watch.md").read_text()
    assert all(goal in stated for goal in ("99.5 %", "99 %", "4 frames"))


def test_the_goals_are_computed_as_they_are_described(tmp_path):
    """2 of 100 requests fail, 5 of 50 uploads are slow, and the newest hourly frame is 90 min old."""
    upload = "method='POST',route='/v1/forecasts'"
    series = {
        "stconv_requests_total{status='200'}": "0+98x90",
        "stconv_requests_total{status='500'}": "0+2x90",
        "stconv_requests_total{status='503',route='/readyz'}": "0+1000x90",
        f"stconv_request_seconds_bucket{{{upload},le='1.0'}}": "0+45x90",
        f"stconv_request_seconds_count{{{upload}}}": "0+50x90",
        "stconv_newest_forecast_time_seconds{model='air'}": "0x90",
        "stconv_frame_step_seconds{model='air'}": "3600x90",
    }
    goals = [panel["targets"][0]["expr"] for panel in DASHBOARD["panels"][:3]]
    values = [("{}", 0.98), ("{}", 0.9), ("{model='air'}", 1.5)]
    checks = [
        {"expr": goal, "eval_time": "90m", "exp_samples": [{"labels": labels, "value": value}]}
        for goal, (labels, value) in zip(goals, values, strict=True)
    ]
    given = [{"series": name, "values": numbers} for name, numbers in series.items()]
    case = {"interval": "1m", "input_series": given, "promql_expr_test": checks}
    cases = tmp_path / "goals.yml"
    cases.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [case]}))
    found = run_promtool("test", "rules", str(cases))
    assert found.returncode == 0, found.stdout + found.stderr


def test_prometheus_understands_the_dashboard(tmp_path):
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    named = [{"record": f"panel:{i}", "expr": expression} for i, expression in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": named}]}))
    found = run_promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert found.returncode == 0, found.stdout + found.stderr


def test_counters_of_a_model_begin_at_zero():
    """Prometheus sees no increase in the first value of a series."""
    metrics = Metrics()
    metrics.introduce("air")
    said = metrics.text().decode()
    for series in (
        'stconv_worker_restarts_total{model="air"}',
        'stconv_archive_failures_total{model="air"}',
        'stconv_dropped_total{model="air",reason="queue full"}',
        'stconv_model_swaps_total{model="air",outcome="failed"}',
    ):
        assert f"{series} 0.0" in said


def test_the_age_of_a_forecast_needs_a_calendar_of_real_days():
    assert unix_time("20141231T180000Z", "standard") == 1_420_048_800  # date -u -d 2014-12-31T18:00 +%s
    assert unix_time("15000229T000000Z", "standard") is None, "a day of the Julian calendar"
    assert unix_time("20140230T000000Z", "360_day") is None
