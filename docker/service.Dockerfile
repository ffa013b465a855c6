# The service, and every stconv command. Build from the root of the repository: docker build -f docker/service.Dockerfile .
FROM python:3.11.14-slim-bookworm AS build
# PyTorch has a separate index for its CPU wheels, named on its installation page: give its address as
# --build-arg TORCH_INDEX=ADDRESS. Without it the default wheels are installed, with several GB of CUDA.
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /srv/stconv
WORKDIR /src
COPY requirements.lock ./
RUN /srv/stconv/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' requirements.lock)"
COPY pyproject.toml README.md LICENSE ./
# The dependencies have a layer of their own, so that a change of the code does not install them again.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > dependencies.txt && /srv/stconv/bin/pip install -c requirements.lock -r dependencies.txt
COPY stconv stconv
COPY service service
COPY configs configs
COPY data/recipes data/recipes
RUN /srv/stconv/bin/pip install --no-deps .
# The image is copied to every machine that serves: 2.2 GB without this step.
RUN apt-get update && apt-get install -y --no-install-recommends binutils
COPY docker/slim.sh ./
RUN ./slim.sh /srv/stconv/lib/python3.11/site-packages

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /home/stconv stconv \
    && install -d -o stconv -g stconv /var/cache/stconv /home/stconv/runs
COPY --from=build /srv/stconv /srv/stconv
ENV PATH=/srv/stconv/bin:$PATH PYTHONUNBUFFERED=1 STCONV_CACHE=/var/cache/stconv MPLCONFIGDIR=/tmp
USER 10001
WORKDIR /home/stconv/runs
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["stconv"]
CMD ["serve", "--help"]
