# The tracking server. Build from the root of the repository: docker build -f docker/mlflow.Dockerfile .
FROM python:3.11.14-slim-bookworm
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
COPY requirements.lock /tmp/requirements.lock
RUN pip install -c /tmp/requirements.lock mlflow psycopg2-binary \
    && useradd --system --uid 10002 --create-home mlflow \
    && install -d -o mlflow -g mlflow /var/lib/mlflow
USER 10002
WORKDIR /var/lib/mlflow
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["mlflow"]
CMD ["server", "--help"]
