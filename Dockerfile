# One image for the three services of Dagster. deploy/compose.yaml starts them from it.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE requirements.lock requirements-lake.lock ./
COPY icontact_assets icontact_assets
# The lock holds the packages of tests too: as constraints, it pins only what is installed. EXTRAS and PACKAGES add some, as
# deploy/compose/ and deploy/helm/ do for several workers.
ARG LOCK=requirements.lock
ARG EXTRAS=""
ARG PACKAGES=""
RUN python -m venv /opt/icontact && \
    /opt/icontact/bin/pip install --no-cache-dir --constraint ${LOCK} ".${EXTRAS}" ${PACKAGES}

FROM python:${PYTHON}
COPY --from=build /opt/icontact /opt/icontact
COPY deploy/dagster.yaml deploy/workspace.yaml /opt/dagster/
COPY deploy/compose/dagster.yaml /opt/dagster/workers/
# All that is ever written is below /data, and short-lived files in /tmp.
RUN useradd --uid 10001 --no-create-home --home-dir /data icontact && \
    install -d -o icontact -g icontact -m 0700 /data /data/dagster /data/icontact /data/icontact/reports /data/lake
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
