"""results.json of any version as the newest one. Each step is a pure function from one version to the next and invents no number.

1 -> 2: calibration, corrected rates, other judges and the probe; an older run has none of them.
2 -> 3: the two layers of uncertainty of the agreement, and the line through its rates; not known of an older run until it is scored again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldsim.data.sealed import read_sealed
from worldsim.errors import DamagedFile, UnknownName
from worldsim.report.schema import SCHEMA_VERSION

Results = Mapping[str, Any]
RESULTS = "results.json"


def read_results(run: Path) -> dict[str, Any]:
    """The results of the run at `run`, as the newest version has them.

    Raises:
        UnknownName: it has none yet.
        DamagedFile: they are no JSON, not what their hash promises, or of a version that is not known here.
    """
    file, again = run / RESULTS, f"type: worldsim score run={run}"
    if not file.exists():
        raise UnknownName(f"{run} has no results.json yet; {again}")
    return migrate(read_sealed(file, again), f"{file} is not of schema version 1 to {SCHEMA_VERSION}; {again}")


def migrate(results: Results, refusal: str = f"results of a schema version that is not 1 to {SCHEMA_VERSION}") -> dict[str, Any]:
    """Results of any version as the newest one; `results` stay as they are.

    Raises:
        DamagedFile: an unknown version, or one whose form they do not have; the text is `refusal`.
    """
    version = results.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise DamagedFile(refusal)
    try:
        for step in range(version, SCHEMA_VERSION):
            results = STEPS[step](results)
    except (KeyError, TypeError) as error:
        raise DamagedFile(refusal) from error
    return dict(results)


def _from_1(results: Results) -> Results:
    policies = [{**policy, "corrected": None} for policy in results["policies"]]
    return {**results, "schema_version": 2, "policies": policies, "calibration": None, "judges": [], "probe": None}


def _from_2(results: Results) -> Results:
    new = dict.fromkeys(("line", "trial_layer", "policy_layer"))
    agreement = results["agreement"]
    return {**results, "schema_version": 3, "agreement": None if agreement is None else {**new, **agreement}}


STEPS = {1: _from_1, 2: _from_2}
