# syntax=docker/dockerfile:1
# One image for every deployable: `python -m transformer`, `python -m predictor`, `headrace pipeline run`.
# BASE needs Python 3.11 or newer with its venv module; a cluster should name it by digest.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
WORKDIR /source
RUN python3 -m venv /opt/headrace
COPY requirements requirements
# What is installed beyond serving, by the names of the files in requirements, such as "kafka hopsworks".
ARG EXTRAS=
# Every package by its version and hash, and no other; one that has no wheel is built with the setuptools of build.txt.
RUN set -f; for name in serving ${EXTRAS}; do set -- "$@" --requirement "requirements/${name}.txt"; done; \
    install="/opt/headrace/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes" \
 && ${install} --requirement requirements/build.txt \
 && ${install} --no-build-isolation "$@"
COPY pyproject.toml LICENSE README.md ./
COPY headrace headrace
COPY feature_pipelines feature_pipelines
COPY transformer transformer
COPY predictor predictor
COPY applications applications
# The installers stay behind, so that a running container can install nothing, and the tests of other packages.
RUN /opt/headrace/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-index --no-deps --no-build-isolation . \
 && /opt/headrace/bin/pip check \
 && HEADRACE_LOOPS=/opt/headrace/loops /opt/headrace/bin/headrace compile fraud \
 && /opt/headrace/bin/pip uninstall --yes --quiet setuptools pip \
 && find /opt/headrace/lib -type d -name tests -prune -exec rm -r {} +

FROM ${BASE}
LABEL org.opencontainers.image.title="headrace" org.opencontainers.image.licenses="Apache-2.0"
# Nothing is written below /opt or /home, so the root file system may be read-only; state goes to mounted volumes.
ENV PATH=/opt/headrace/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
# Loops that were compiled above, for any processor of this architecture: else each new pod compiles them for 20 seconds.
ENV HEADRACE_LOOPS=/opt/headrace/loops
# A container is reached from outside; on a laptop the transformer listens on loopback only.
ENV HEADRACE_HOST=0.0.0.0
COPY --from=build /opt/headrace /opt/headrace
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080 8081
# No entry point: a manifest says `command: [python, -m, transformer]`, and KServe's flags follow as arguments.
CMD ["headrace", "--help"]
