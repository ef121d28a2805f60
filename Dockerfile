# One image for every role; the command names the role (see docker-compose.yml).
FROM python:3.12-slim AS build
WORKDIR /bunsen
COPY bunsen package.json package-lock.json .npmrc ./
COPY requirements requirements
COPY setup setup
RUN python -c "from setup.start import prepare; prepare()" && rm -rf node_modules .node

FROM python:3.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home bunsen \
    && install --directory --owner 10001 --group 10001 /data
WORKDIR /bunsen
COPY --from=build /bunsen/.venv .venv
COPY . .
COPY --from=build /bunsen/static/vendor static/vendor
RUN ln -s /bunsen/setup/container.sh /usr/local/bin/bunsen
ENV PATH=/bunsen/.venv/bin:$PATH PYTHONPATH=/bunsen PYTHONUNBUFFERED=1 BUNSEN_HOME=/data HF_HOME=/data/hub
USER 10001:10001
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["bunsen"]
CMD ["web", "--host", "0.0.0.0"]
