"""Registered models: versions of tested runs, the candidate, and the skill gate of the champion."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stconv.bundle import Bundle
from stconv.bundle.card import refit_statement
from stconv.contenders import BASELINES, RIVAL
from stconv.errors import ConfigError, SkillGateError, TrackingError
from stconv.results import SCORES_NC
from stconv.tracking.flavor import write_flavor
from stconv.tracking.run_layout import BUNDLE, SCORES, TAG_REFIT_OF, registered
from stconv.tracking.store import connect, download, explained, find_run
from stconv.verification import Verification
from stconv.verification.scores.pairing import pair
from stconv.verification.scores.verdict import BEATS, LOSES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
OUTSIDE_NAMES = ("/", ":", "@")
"""Characters that separate the parts of a reference to a version."""


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion.

    Attributes:
        name: Registered model.
        version: The new champion.
        previous: The previous champion, if there was one.
        evidence: Findings of the gate, one sentence each.
        objections: Reasons of the gate to refuse; empty unless forced.
    """

    name: str
    version: int
    previous: int | None
    evidence: tuple[str, ...]
    objections: tuple[str, ...] = ()

    def __str__(self) -> str:
        before = f" (was version {self.previous})" if self.previous else ""
        lines = [f"models:/{self.name}@{CHAMPION} is version {self.version}{before}."]
        lines += [f"  {sentence}" for sentence in self.evidence]
        lines += [f"  forced although: {sentence}" for sentence in self.objections]
        return "\n".join(lines)


def register(run_id: str, name: str) -> int:
    """Make a tested run, or a refit of one, the newest version of a registered model, and the candidate.

    The bundle and its scores are copied, so that later changes to the run do not change the version.

    Args:
        run_id: Run id or name.
        name: Name of the registered model; created if it does not exist.

    Returns:
        Number of the version.

    Raises:
        TrackingError: The run is unknown, untested, or has no bundle, or the name is none.
    """
    from mlflow.exceptions import MlflowException

    if not isinstance(name, str) or not name.strip() or set(name) & set(OUTSIDE_NAMES):
        raise TrackingError(
            f"The name of the registered model is {name!r}; expected text without {' '.join(OUTSIDE_NAMES)}, "
            "which address versions, as in models:/NAME@champion."
        )
    run = find_run(run_id)
    tested = find_run(run.tags[TAG_REFIT_OF]) if TAG_REFIT_OF in run.tags else run
    if not tested.tested:
        raise TrackingError(
            f"Run {run} has no scores on the test period, so its skill is unknown. Run `stconv test` with "
            "its configuration first."
        )
    folder = download(run.run_id, BUNDLE)
    scores = download(tested.run_id, SCORES)
    bundle_hash = Bundle.load(folder).hash
    client = connect()
    with explained(f"register {name}"):
        inside = registered(bundle_hash)
        client.log_artifacts(run.run_id, str(folder), f"{inside}/{BUNDLE}")
        client.log_artifact(run.run_id, str(scores), inside)
        with tempfile.TemporaryDirectory() as scratch:
            client.log_artifacts(run.run_id, str(write_flavor(Path(scratch), run.run_id)), inside)
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{client.get_run(run.run_id).info.artifact_uri}/{inside}"
        tags = {"run_name": run.name, "experiment": run.experiment, "bundle_hash": bundle_hash}
        tags |= {} if tested is run else {TAG_REFIT_OF: tested.run_id}
        version = client.create_model_version(name, source, run.run_id, tags=tags)
        client.set_registered_model_alias(name, CANDIDATE, version.version)
    return int(version.version)


def promote(name: str, force: bool = False) -> Promotion:
    """Make the candidate the champion, if it has skill.

    It must beat persistence and climatology on its test windows, and the present champion on the windows
    that both were tested on, for every variable over all leads together. A reference counts as beaten when
    the bootstrap interval of the skill is above zero and a Diebold-Mariano test agrees.

    Args:
        name: Registered model.
        force: Promote in any case; the objections are recorded as a tag of the version.

    Raises:
        SkillGateError: It does not beat the references or the champion.
        TrackingError: There is no such model, or it has no candidate.
    """
    client = connect(reading=True)
    candidate = _by_alias(client, name, CANDIDATE)
    if candidate is None:
        raise TrackingError(
            f"'{name}' has no candidate. Run `stconv register --name {name}` with a tested run."
        )
    champion = _by_alias(client, name, CHAMPION)
    evidence, objections = judge(candidate, champion)
    if objections and not force:
        raise SkillGateError(
            f"Version {candidate.version} of '{name}' was not promoted:\n"
            + "\n".join(f"  {sentence}" for sentence in objections)
            + "\nTrain a better one, or use --force, which is recorded."
        )
    with explained(f"promote {name}"):
        if objections:
            client.set_model_version_tag(name, candidate.version, "forced", "\n".join(objections))
        client.set_registered_model_alias(name, CHAMPION, candidate.version)
        client.delete_registered_model_alias(name, CANDIDATE)
    previous = int(champion.version) if champion else None
    return Promotion(name, int(candidate.version), previous, tuple(evidence), tuple(objections))


def judge(candidate: ModelVersion, champion: ModelVersion | None) -> tuple[list[str], list[str]]:
    """List findings for and against a candidate, one sentence each."""
    evidence: list[str] = []
    objections: list[str] = []

    def weigh(verification: Verification, reference: str, label: str) -> None:
        for won, sentence in _contest(verification, reference, label):
            (evidence if won else objections).append(sentence)

    result, family = _verification(candidate), candidate.tags.get(TAG_REFIT_OF)
    if family is not None:
        evidence.append(refit_statement(Bundle.load(bundle_of(candidate)).spec["refit"]))
    for baseline in BASELINES:
        weigh(result, baseline, baseline)
    if champion is not None and family in {champion.run_id, champion.tags.get(TAG_REFIT_OF, "")}:
        evidence.append(f"the champion, version {champion.version}, has the same configuration and less data")
    elif champion is not None and champion.version != candidate.version:
        label = f"the champion, version {champion.version}"
        try:
            weigh(_paired(candidate, champion, result), RIVAL, label)
        except ConfigError as error:
            objections.append(f"it cannot be compared with {label}: {error}")
    return evidence, objections


def _contest(verification: Verification, reference: str, label: str) -> list[tuple[bool, str]]:
    """Compare over all leads on the same windows, one sentence for each variable."""
    whole = verification.over_leads()
    sums, outcomes = whole.sums, whole.outcome(reference)[:, 0]
    low, high = whole.skill_interval(reference)[:, :, 0]
    ours, theirs, skill = sums.rmse(sums.model), sums.rmse(reference), sums.skill(sums.model, reference)
    found = []
    for i, variable in enumerate(sums.variables):
        sentence = (
            f"RMSE of {variable} {ours[i, 0]:.4g} {sums.units[variable]} against {theirs[i, 0]:.4g} of "
            f"{label}, {sums.n_windows} windows both were tested on: skill {100 * skill[i, 0]:+.1f} %"
        )
        if np.isfinite(low[i]):
            bounds = f"{100 * low[i]:+.1f} to {100 * high[i]:+.1f}"
            sentence += f" ({whole.confidence:.0%} interval {bounds})"
        else:
            sentence += ", too few windows for an interval"
        won = str(outcomes[i]) == BEATS
        if not won:
            sentence += "; that is worse" if str(outcomes[i]) == LOSES else "; not significantly better"
        found.append((won, sentence))
    return found


def _paired(candidate: ModelVersion, champion: ModelVersion, result: Verification) -> Verification:
    """Scores of candidate and champion on the windows that both were tested on.

    Raises:
        ConfigError: They were tested on different data, variables, cells or windows.
    """
    mine, theirs = (Bundle.load(bundle_of(version)).spec for version in (candidate, champion))
    if mine["data"]["hash"] != theirs["data"]["hash"]:
        raise ConfigError(
            f"it was tested on other data ({theirs['data']['name']}, not {mine['data']['name']}); test a "
            "model with the champion's configuration on these data"
        )
    return replace(result, sums=pair(result.sums, _verification(champion).sums), diagnostics={})


def resolve_bundle(reference: str) -> Path:
    """Get a bundle to this machine.

    Args:
        reference: A folder, `runs:/ID`, `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or `models:/NAME` for
        its champion.

    Returns:
        A local folder, to be opened with `Bundle.load`.

    Raises:
        TrackingError: There is no such run, model, version or alias, or it cannot be fetched.
    """
    if reference.startswith("runs:/"):
        inside = reference.removeprefix("runs:/").partition("/")[2]
        return download(reference, "" if inside else BUNDLE)
    if reference.startswith("models:/"):
        return bundle_of(find_version(reference))
    return Path(reference)


def find_version(reference: str) -> ModelVersion:
    """Find the version that a `models:/` reference means.

    Raises:
        TrackingError: There is none; the message lists the existing ones.
    """
    name, at, alias = reference.removeprefix("models:/").partition("@")
    number = ""
    if not at:
        name, _, number = name.partition("/")
    client = connect(reading=True)
    if number:
        return _by_number(client, name, number)
    version = _by_alias(client, name, alias or CHAMPION)
    if version is None:
        aliases = ", ".join(client.get_registered_model(name).aliases) or "none"
        raise TrackingError(
            f"Model '{name}' has no alias '{alias or CHAMPION}'; it has: {aliases}. Run `stconv promote`, "
            "or name a version: models:/NAME/1."
        )
    return version


def _by_number(client: MlflowClient, name: str, number: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    with explained(f"find models:/{name}/{number}"):
        try:
            return client.get_model_version(name, number)
        except MlflowException as error:
            if number.isdecimal() and error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            _by_alias(client, name, CHAMPION)  # refuses a model that is not there
            found = sorted(int(version.version) for version in client.search_model_versions(f"name='{name}'"))
            raise TrackingError(
                f"Model '{name}' has no version '{number}'; it has: {', '.join(map(str, found))}. Name one "
                f"of them, or models:/{name}@{CHAMPION}."
            ) from error


def _by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    from mlflow.exceptions import MlflowException

    with explained(f"find model {name}"):
        try:
            model = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            names = ", ".join(sorted(m.name for m in client.search_registered_models())) or "none"
            raise TrackingError(
                f"No registered model '{name}'. There are: {names}. Run `stconv register --name {name}`."
            ) from error
        number = model.aliases.get(alias)
        return None if number is None else client.get_model_version(name, str(number))


def bundle_of(version: ModelVersion) -> Path:
    """Get the bundle of a version to this machine; an older stconv registered the bundle's folder itself."""
    source = str(version.source)
    return download(source) if source.endswith(f"/{BUNDLE}") else download(source, BUNDLE)


def _verification(version: ModelVersion) -> Verification:
    return Verification.from_netcdf(download(str(version.source).removesuffix(f"/{BUNDLE}"), SCORES_NC))
