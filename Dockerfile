# One image for workers, migrations and the command line: `worker.py` by default, else `starter.py ...`.

FROM python:3.12.14-slim-trixie AS build
WORKDIR /app
COPY requirements-worker.lock ./
# Wheels only: nothing is compiled, and nothing that the lock has no hash for is installed.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python --no-cache-dir --disable-pip-version-check \
        install --only-binary :all: --require-hashes --requirement requirements-worker.lock
COPY alembic.ini worker.py starter.py ./
COPY alembic ./alembic
COPY activities ./activities
COPY autopay ./autopay
COPY workflows ./workflows
RUN rm requirements-worker.lock && python -m compileall -q .

FROM python:3.12.14-slim-trixie
RUN python -m pip uninstall --yes --root-user-action=ignore pip \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent autopay
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
USER 10001:10001

# After this signal a worker has up to 30 s to finish what is in flight: give it more than that before a SIGKILL (`docker stop --time 45`).
STOPSIGNAL SIGTERM
# The worker touches the file every 10 s, for as long as its event loop turns and Temporal answers it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, sys, time; sys.exit(time.time() - os.path.getmtime('/tmp/worker.alive') > 45)"]
ENTRYPOINT ["python"]
CMD ["worker.py", "--alive", "/tmp/worker.alive"]
