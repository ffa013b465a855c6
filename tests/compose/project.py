"""A copy of the compose set for podman-compose, with made secrets and data."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import yaml

from compose.images import ROOT, full_name

KEY = "key of the test"
CONFIG = """\
data: {paths: /srv/observations/made.nc, inputs: [t2m], t_in: 3, leads: 2, batch_size: 16}
model:
  network:
    class_path: stconv.models.ResNet2D
    init_args: {n_filters: 4, dilations: [1], norm: layer}
  loss: {class_path: stconv.losses.MaskedMSE}
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer:
  accelerator: cpu
  max_epochs: 2
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: stconv.tracking.RunLogger, init_args: {experiment_name: made}}
  callbacks:
    - class_path: pytorch_lightning.callbacks.ModelCheckpoint
      init_args: {monitor: val_rmse, filename: best}
"""
DIFFERENCES = (
    "images are named, not built; configs are mounted as files; free ports on loopback; "
    "commands run in a service `trainer`, because podman-compose names a run of `service` like the server; "
    "the folder of PostgreSQL's socket is a volume, because Podman 4 gives a tmpfs no owner"
)


class Project:
    """Folder of the project.

    Args:
        folder: New folder of the project.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("service", "proxy", "grafana")}
        self.services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        folder.mkdir()
        shutil.copytree(ROOT / "docker", folder / "docker")
        (folder / "docker-compose.yml").write_text(yaml.safe_dump(self._changed()))
        self._secrets()
        self.data = folder / "observations"
        self.data.mkdir()
        (self.data / "experiment.yaml").write_text(CONFIG)
        (folder / ".env").write_text(
            f"STCONV_MODEL=models:/air@champion\nSTCONV_DATA={self.data}\nSTCONV_CPUS=1\n"
            f"STCONV_PORT={self.ports['service']}\nGRAFANA_PORT={self.ports['grafana']}\n"
        )

    def _changed(self) -> dict[str, Any]:
        compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        for service in compose["services"].values():
            if build := service.pop("build", None):
                name = Path(build["dockerfile"]).name.partition(".")[0]
                service["image"] = f"localhost/stconv_test/{name}"
            else:
                service["image"] = full_name(service["image"])
            for entry in service.pop("configs", []):
                source = compose["configs"][entry["source"]]["file"]
                service.setdefault("volumes", []).append(f"./{source}:{entry['target']}:ro")
        trainer = compose["services"]["trainer"] = dict(compose["services"]["service"])
        del trainer["ports"], trainer["depends_on"]
        trainer["networks"] = ["tracking"]
        database = compose["services"]["postgres"]
        database["tmpfs"] = ["/tmp"]
        database["volumes"].append("socket:/run/postgresql")
        compose["volumes"]["socket"] = {}
        compose["services"]["proxy"]["ports"] = [f"127.0.0.1:{self.ports['proxy']}:443"]
        del compose["configs"]
        return compose

    def _secrets(self) -> None:
        secrets = self.folder / "secrets"
        secrets.mkdir()
        values = {
            "database_password": os.urandom(12).hex(),
            "grafana_password": os.urandom(12).hex(),
            "api_keys": hashlib.sha256(KEY.encode()).hexdigest(),
            "metrics_key": KEY,
        }
        for name, value in values.items():
            (secrets / name).write_text(value)
            os.chown(secrets / name, -1, 10000)
            (secrets / name).chmod(0o640)
        os.chown(secrets, -1, 10000)
        secrets.chmod(0o750)


def free_port() -> int:
    """Find a port of loopback that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
