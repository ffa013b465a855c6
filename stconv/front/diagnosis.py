"""The installation and the machine, checked: `stconv.diagnose`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stconv.front.contained import contained

if TYPE_CHECKING:
    from stconv.diagnosis import Finding


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Findings on the installation and the machine.

    Attributes:
        findings: Each with a name, a state (ok, warning or fault), a sentence, and a remedy.
    """

    findings: Sequence[Finding]

    @property
    def fit_for_work(self) -> bool:
        """Whether there is no fault; a warning is none."""
        return all(finding.state != "fault" for finding in self.findings)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the findings as JSON values."""
        return [asdict(finding) for finding in self.findings]

    def __repr__(self) -> str:
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.state:<8} {finding.check:<10} {finding.found}")
            if finding.remedy:
                lines.append(f"{'':<19} {finding.remedy}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from stconv.front.html import diagnosis_html

        return diagnosis_html(self.findings)


@contained
def diagnose() -> Diagnosis:
    """Check versions of libraries, cores, memory, disks, GPU, tracking store, registry and clock."""
    from stconv.diagnosis import diagnose

    return Diagnosis(diagnose())
