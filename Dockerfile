# One image for the three services of Dagster. deploy/compose.yaml starts them from it.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE requirements.lock ./
COPY icontact_assets icontact_assets
# The lock holds the packages of tests too: as constraints, it pins only what is installed. PACKAGES adds some, as
# dagster-postgres for Kubernetes.
ARG PACKAGES=""
RUN python -m venv /opt/icontact && \
    /opt/icontact/bin/pip install --no-cache-dir --constraint requirements.lock . ${PACKAGES}

FROM python:${PYTHON}
COPY --from=build /opt/icontact /opt/icontact
COPY deploy/dagster.yaml deploy/workspace.yaml /opt/dagster/
# All that is ever written is below /data, and short-lived files in /tmp.
RUN useradd --uid 10001 --no-create-home --home-dir /data icontact && \
    install -d -o icontact -g icontact -m 0700 /data /data/dagster /data/icontact
ENV PATH=/opt/icontact/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/opt/dagster \
    DAGSTER_STATE=/data/dagster \
    ICONTACT_ASSETS_HOME=/data/icontact
WORKDIR /data
USER 10001:10001
VOLUME /data
EXPOSE 3000 4000
# No HEALTHCHECK: each service has another one, in deploy/compose.yaml.
CMD ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "icontact_assets.definitions"]
