# Targets: `services` (Order, Adapter, SCM and Console are one image), `aws` (the local SNS/SQS server) and `port`
# (a TCP forwarder). All run as a user without rights and need no writable file system.

FROM python:3.13-slim AS base
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --no-create-home service

# The base's pip installs into the environment, so that the environment needs none.
FROM base AS build
RUN python -m venv --without-pip /venv

FROM build AS build-services
COPY requirements/services.txt .
RUN pip --python /venv/bin/python install --no-cache-dir --require-hashes -r services.txt
# pip refuses folders where hashes are required.
COPY shared/snsqs snsqs
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps ./snsqs

FROM build AS build-aws
COPY requirements/aws.txt .
RUN pip --python /venv/bin/python install --no-cache-dir --require-hashes -r aws.txt

FROM base AS aws
COPY --from=build-aws /venv /venv
WORKDIR /app
COPY local local
COPY shared/__init__.py shared/
COPY shared/runtime/__init__.py shared/runtime/browser_requests.py shared/runtime/
# A new volume takes on the owner of the folder that it is mounted on.
RUN install -d -o service -g service /var/lib/ministack
USER 10001:10001
CMD ["hypercorn", "local.aws_server:app", "--workers", "0", "--bind", "0.0.0.0:4566", "--keep-alive", "75", \
    "--log-level", "WARNING"]

FROM base AS port
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends socat \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
USER 10001:10001

FROM base AS services
COPY --from=build-services /venv /venv
WORKDIR /app
COPY services services
COPY shared shared
USER 10001:10001
