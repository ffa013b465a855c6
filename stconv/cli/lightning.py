"""`stconv pretrain`, `fit`, `validate`, `test`, `predict`: Lightning's command line on our tasks and data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stconv.front.scores import Scores

HELP = {
    "pretrain": """\
usage: stconv pretrain --config FILE [--KEY VALUE ...]

Train the filters of a network without targets: a part of each window is masked, and the network learns to
reconstruct it. Takes the configuration of `stconv fit`. The run is recorded in MLflow and in
runs/EXPERIMENT/RUN; `stconv fit --init-from runs:/ID` starts from its layers.

options:
  -c, --config FILE            the experiment; targets, event, freeze and init_from are not used
  --masking.kind KIND          what is masked: frames (default), patches (squares of cells in one frame), or
                               tubes (squares in all frames)
  --masking.share SHARE        share that is masked, above 0 and below 1 (default: 0.4)
  --masking.patch N            cells along each side of a square (default: 4)
  --ckpt_path FILE             resume from this checkpoint (.../last.ckpt), in the same MLflow run
  --KEY VALUE                  change one key of the configuration
  --import MODULE              import this module or .py file first: it registers your own networks
  --print_config               print the complete configuration and stop
  --help-all                   list all keys

example:
  stconv pretrain --config configs/ncep_air_temperature_stconvs2s_r.yaml --masking.share 0.6
""",
    "fit": """\
usage: stconv fit --config FILE [--KEY VALUE ...]

Train the network of a configuration. The run is recorded in MLflow and in runs/EXPERIMENT/RUN: its
configuration, losses, the best and the last checkpoint, and the model as a bundle.

options:
  -c, --config FILE            the experiment; `stconv configs list` names those that come with stconv
  --ckpt_path FILE             go on from this checkpoint (.../last.ckpt), in the same MLflow run; `resume`:
                               from where the newest training of this configuration was stopped, if it was
  --init-from BUNDLE           start from the weights of this bundle (folder, runs:/ID, models:/NAME) or of a
                               pretraining (folder, runs:/ID) wherever a layer has the same name and shape;
                               `init_from` in a configuration
  --KEY VALUE                  change one key of the configuration, such as
      --trainer.max_epochs 5       --data.loading.batch_size 32       --seed_everything 1
      --trainer.accelerator cpu    --data.source.paths 'my/*.nc'     --trainer.logger.init_args.run_name trial
  --import MODULE              import this module or .py file first: it registers your own networks
  --print_config               print the complete configuration and stop
  --help-all                   list all keys

examples:
  stconv fit --config configs/ncep_air_temperature_stconvs2s_r.yaml
  stconv fit --config my.yaml --ckpt_path runs/my/RUN/checkpoints/last.ckpt --trainer.max_epochs 100
""",
    "test": """\
usage: stconv test --config FILE [--ckpt_path FILE] [--KEY VALUE ...]

Score a trained network on the test period, lead by lead, next to persistence and climatology on the
same windows. Scores, pictures and the bundle with its scores are recorded on the run of the training.

options:
  -c, --config FILE            the experiment given to `stconv fit`
  --ckpt_path FILE             test this checkpoint (default: the best one of the latest finished run that
                               this configuration trained; a baseline without parameters needs none)
  --import MODULE              import this module or .py file first: it registers your own networks
  --KEY VALUE                  change one key of the configuration
  --help-all                   list all keys

example:
  stconv test --config configs/ncep_air_temperature_stconvs2s_r.yaml
""",
    "validate": """\
usage: stconv validate --config FILE [--ckpt_path FILE] [--KEY VALUE ...]

Score a trained network on the validation period. Model selection uses this period, never the test period.

options:
  -c, --config FILE            the experiment given to `stconv fit`
  --ckpt_path FILE             this checkpoint (default: the best one of the latest finished run that this
                               configuration trained)
  --import MODULE              import this module or .py file first: it registers your own networks
  --KEY VALUE                  change one key of the configuration
  --help-all                   list all keys
""",
    "predict": """\
usage: stconv predict --config FILE [--ckpt_path FILE] [--KEY VALUE ...]

Forecast from the newest window of the configured data, and write forecast.nc to the folder of
the run. To forecast from other files use `stconv forecast`.

options:
  -c, --config FILE            the experiment given to `stconv fit`
  --ckpt_path FILE             this checkpoint (default: the best one of the latest finished run that this
                               configuration trained)
  --import MODULE              import this module or .py file first: it registers your own networks
  --KEY VALUE                  change one key of the configuration
  --help-all                   list all keys
""",
}


def run_argv(command: str, argv: list[str]) -> int:
    """Run a Lightning command.

    Args:
        command: pretrain, fit, validate, test or predict.
        argv: Command line words after the command.

    Raises:
        ConfigError: A key or value of the configuration is invalid.
        StconvError: Any other error that a user can correct.
    """
    if "-h" in argv or "--help" in argv:
        print(HELP[command], end="")
        return 0
    if not argv:
        print(HELP[command], end="")
        return 2
    from stconv.front.lightning import run_command

    done = run_command(command, ["--help" if word == "--help-all" else word for word in argv], say=print)
    if done.scores is not None:
        _print_scores(done.scores)
    if done.report is not None:
        print(f"Report: {done.report}")
    if done.forecast_file is not None:
        print(f"Forecast from the newest window: {done.forecast_file}")
    return 0


def _print_scores(scores: Scores) -> None:
    from rich.console import Console

    console = Console()
    console.print(scores.text(min(console.width, 110)))
