from stconv import errors as errors
from stconv import losses as losses
from stconv import models as models
from stconv import nn as nn
from stconv import optimizers as optimizers
from stconv import schedules as schedules
from stconv.front.comparison import Comparison as Comparison
from stconv.front.comparison import compare as compare
from stconv.front.experiment import Experiment as Experiment
from stconv.front.hindcast import hindcast as hindcast
from stconv.front.inspection import Inspection as Inspection
from stconv.front.inspection import inspect as inspect
from stconv.front.model import Model as Model
from stconv.front.model import load as load
from stconv.front.run import Run as Run
from stconv.front.run import Version as Version
from stconv.front.run import runs as runs
from stconv.front.scores import Scores as Scores
from stconv.front.serving import Service as Service
from stconv.front.serving import serve as serve
from stconv.front.suggestion import suggest as suggest

__version__: str
