"""Stored results: one JSON file for each environment and commit, to which several runs can add.

A group (part, data, size) is measured as a whole, so its ratios come from one run; measuring it
again replaces it.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("results")
DEFAULT = FOLDER / "search.json"
CHANGED = " with changes"

Group = dict[str, Any]


class OtherEnvironment(Exception):
    """The file holds results of another machine, server, data or commit."""


def refusal(file: Path, differing: list[str]) -> str:
    return (
        f"{file} was measured with another {', '.join(differing)}: "
        "--replace starts it anew, --result names another file"
    )


class Results:
    """The content of one file; `add` writes it, so a run that is stopped keeps what it has."""

    def __init__(self, file: Path, environment: dict[str, Any], runs: list[Any]) -> None:
        self.file, self.environment, self.runs = file, environment, runs
        self.groups: dict[tuple[str, str, int], Group] = {}

    @classmethod
    def read(cls, file: Path = DEFAULT) -> "Results":
        found = json.loads(file.read_text("utf-8"))
        results = cls(file, found["environment"], found["runs"])
        for group in found["groups"]:
            results.groups[group["part"], group["data"], group["size"]] = group
        return results

    @classmethod
    def begin(
        cls, file: Path, environment: dict[str, Any], run: dict[str, Any], *, replace: bool
    ) -> "Results":
        """Start a run: into what the file holds, if that was measured in the same environment."""
        if replace or not file.exists():
            results = cls(file, environment, [])
        else:
            results = cls.read(file)
            if environment["photo_hashes_sha256"] is None:  # this run needs none
                environment["photo_hashes_sha256"] = results.environment["photo_hashes_sha256"]
            if differing := [
                name
                for name in results.environment | environment
                if results.environment.get(name) != environment.get(name)
            ]:
                raise OtherEnvironment(refusal(file, differing))
            # Changes have no name: two runs with some may have measured different code.
            if (
                any(one["commit"] != run["commit"] for one in results.runs)
                or CHANGED in run["commit"]
            ):
                raise OtherEnvironment(refusal(file, ["commit"]))
        results.runs.append(run)
        return results

    def add(self, part: str, data: str, size: int, measured: dict[str, Any]) -> None:
        self.groups[part, data, size] = {
            "part": part,
            "data": data,
            "size": size,
            "run": len(self.runs) - 1,
            **measured,
        }
        self._write()

    def get(self, part: str, data: str, size: int) -> Group | None:
        return self.groups.get((part, data, size))

    def of(self, part: str) -> list[Group]:
        """List the groups of a part by data and size: uniform first."""
        found = [group for group in self.groups.values() if group["part"] == part]
        return sorted(found, key=lambda g: (g["data"] != "uniform", g["data"], g["size"]))

    def used_runs(self) -> list[int]:
        return sorted({group["run"] for group in self.groups.values()})

    def _write(self) -> None:
        groups = [self.groups[key] for key in sorted(self.groups)]
        content = {"environment": self.environment, "runs": self.runs, "groups": groups}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".json.new")
        fresh.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        fresh.replace(self.file)


def measure(group: Group | None, key: str = "measures", **labels: Any) -> dict[str, Any] | None:
    """Return the one measure that has these labels, None where it was not made."""
    for one in (group or {}).get(key, []):
        if all(one.get(name) == value for name, value in labels.items()):
            return dict(one)
    return None
