# One image for the whole fleet: longshore, longshore-ingress and longshore-worker.
# docker build -t longshore .

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace --bins \
    && mkdir /programs \
    && cp target/release/longshore target/release/longshore-ingress target/release/longshore-worker /programs/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 longshore \
    && useradd --uid 10001 --gid longshore --no-create-home --shell /usr/sbin/nologin longshore \
    && install -d -o longshore -g longshore -m 750 /var/lib/longshore
# Workers deploy and remove stacks with the docker command.
COPY --from=docker:28-cli /usr/local/bin/docker /usr/local/bin/docker
COPY --from=build /programs/ /usr/local/bin/
COPY deploy/healthy /usr/local/bin/longshore-healthy
# Nobody by default. The worker that uses a Docker socket is given the group of that socket where it is started.
USER 10001:10001
WORKDIR /var/lib/longshore
VOLUME /var/lib/longshore
EXPOSE 8080
ENTRYPOINT ["longshore"]
CMD ["--help"]
