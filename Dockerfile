FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY imgdb imgdb
COPY sql sql
COPY migrations migrations
COPY examples examples
RUN python -m venv /opt/imgdb && /opt/imgdb/bin/pip install --no-cache-dir '.[heif,serve]'

FROM python:3.13-slim
COPY --from=build /opt/imgdb /opt/imgdb
ENV PATH=/opt/imgdb/bin:$PATH
# Pictures come from anywhere: whoever breaks into a decoder must not be root.
RUN useradd --uid 10001 --create-home imgdb
USER imgdb
WORKDIR /home/imgdb
ENTRYPOINT ["imgdb"]
CMD ["--help"]
