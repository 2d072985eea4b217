# syntax=docker/dockerfile:1
# One image for every deployable: `python -m transformer`, `python -m predictor`, `headrace pipeline run`.
# The base is named by its exact tag; a registry that mirrors it should be pinned by digest through BASE.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
WORKDIR /source
COPY pyproject.toml constraints.txt LICENSE README.md ./
COPY headrace headrace
COPY feature_pipelines feature_pipelines
COPY transformer transformer
COPY predictor predictor
COPY applications applications
# Further extras, such as "hopsworks" or "train"; serving needs none.
ARG EXTRAS=
RUN python -m venv /opt/headrace \
 && /opt/headrace/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt ".${EXTRAS:+[${EXTRAS}]}" \
 && /opt/headrace/bin/pip uninstall --yes pip

FROM ${BASE}
LABEL org.opencontainers.image.title="headrace" org.opencontainers.image.licenses="Apache-2.0"
# Nothing is written below /opt or /home, so the root file system may be read-only; state goes to mounted volumes.
ENV PATH=/opt/headrace/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
# A container is reached from outside; on a laptop the transformer listens on loopback only.
ENV HEADRACE_HOST=0.0.0.0
COPY --from=build /opt/headrace /opt/headrace
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080 8081
# No entry point: a manifest says `command: [python, -m, transformer]`, and KServe's flags follow as arguments.
CMD ["headrace", "--help"]
