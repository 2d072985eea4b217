"""What an image holds, as CycloneDX JSON: `sbom.py ROOT` for the image whose files are mounted at ROOT.

Python packages with their licences and who needs whom, as cyclonedx-py finds them in the image's environment, and the
base's Debian packages. The same image gives the same bytes; an invalid document is an error.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SITE = "opt/headrace/lib/python3*/site-packages"


def main(root: Path) -> str:
    """Return the document; raises SystemExit where the image holds no Headrace."""
    found = python_packages(root)
    ours = [one for one in found["components"] if one["name"] == "headrace"]
    if not ours:
        raise SystemExit(f"{root} holds no headrace in {SITE}, needs an image of it")
    found["components"].remove(ours[0])
    found["metadata"]["component"] = {**ours[0], "type": "application"}
    found["components"] += [debian(package) for package in debian_packages(root)]
    written = json.dumps(found, indent=1, sort_keys=True) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(written):
        raise SystemExit(f"the document is not CycloneDX 1.6: {wrong}")
    return written


def python_packages(root: Path) -> dict[str, Any]:
    """Return what cyclonedx-py says of the image's packages: an empty environment that finds them reads them for it."""
    sites = [str(path) for path in root.glob(SITE)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        for site in Path(folder).glob("lib/python3*/site-packages"):
            (site / "image.pth").write_text("".join(f"{one}\n" for one in sites))
        asked = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--sv", "1.6"]
        answer = subprocess.run([*asked, f"{folder}/bin/python"], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def debian_packages(root: Path) -> list[dict[str, str]]:
    """Return the installed packages of the base, in order of their names; none where the base is not Debian's."""
    status = root / "var/lib/dpkg/status"
    if not status.is_file():
        return []
    records = [
        dict(re.findall(r"^(Package|Version|Architecture|Status): (.*)$", record, re.MULTILINE))
        for record in status.read_text().split("\n\n")
    ]
    return sorted((one for one in records if one.get("Status", "").endswith(" installed")), key=lambda o: o["Package"])


def debian(package: dict[str, str]) -> dict[str, Any]:
    """Return one Debian package as a component."""
    name, version, machine = package["Package"], package["Version"], package["Architecture"]
    purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={machine}"
    return {"bom-ref": purl, "name": name, "purl": purl, "type": "library", "version": version}


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])))
