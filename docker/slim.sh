#!/bin/sh
# Remove from an installed environment what neither the service nor a command of stconv loads: slim.sh SITE_PACKAGES.
# tests/compose starts the image afterwards, trains in it, and asks for each format.
set -eu
cd "$1"

# MLflow wants these for tables, flavors and a server of its own. Runs and the registry, over HTTP or in SQLite, do without.
rm -rf pyarrow pyarrow.libs pyarrow-*.dist-info sklearn scikit_learn.libs scikit_learn-*.dist-info mlflow/server/js

# Tests, and the tools and headers for building C++ beside PyTorch; there is no compiler in the image.
find . -type d \( -name tests -o -name test \) -prune \
    \( -path './pandas/*' -o -path './xarray/*' -o -path './scipy/*' -o -path './numpy/*' -o -path './sympy/*' \
    -o -path './matplotlib/*' -o -path './networkx/*' -o -path './dask/*' -o -path './distributed/*' \
    -o -path './torch/test' -o -path './sqlalchemy/*' \) -exec rm -rf {} +
find torch/bin -type f ! -name torch_shm_manager -delete
rm -rf torch/include torch/share/cmake pip pip-*.dist-info

# Symbols of debuggers. Libraries in the folders NAME.libs were changed by auditwheel; strip can break those.
find torch/lib numcodecs _jsonnet*.so -type f -name '*.so*' -exec strip --strip-unneeded {} +
