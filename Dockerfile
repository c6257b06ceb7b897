# The images of Ocelot, in three steps: tools and dependencies (`tools`), static binaries built with them (`binary`), and
# what people run: `server` (nothing but the executable) and `git` (with git, git-lfs and an ssh client: for workers, and
# for servers that read plain git repositories). `./build-release.sh` builds them all; docker-compose.yml builds `git`.
#
# Written for the builder of Docker 17.05 and newer. Where no registry can be reached, give base images of your own:
#   --build-arg BUILD_BASE=…   a Debian system with Rust
#   --build-arg GIT_BASE=…     a Debian system
ARG BUILD_BASE=rust:1.95-bookworm
ARG GIT_BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS tools
RUN command -v cc && command -v git || \
    { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev git ca-certificates && rm -rf /var/lib/apt/lists/*; }
WORKDIR /src
# The manifests alone, so that this step is done again only when a dependency changes.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY bench/Cargo.toml bench/
COPY crates/ocelot/Cargo.toml crates/ocelot/
COPY crates/ocelot-api/Cargo.toml crates/ocelot-api/
COPY crates/ocelot-forge/Cargo.toml crates/ocelot-forge/
COPY crates/ocelot-model/Cargo.toml crates/ocelot-model/
COPY crates/ocelot-server/Cargo.toml crates/ocelot-server/
COPY crates/ocelot-store/Cargo.toml crates/ocelot-store/
COPY crates/ocelot-testkit/Cargo.toml crates/ocelot-testkit/
COPY crates/ocelot-worker/Cargo.toml crates/ocelot-worker/
COPY scripts/static-build.sh scripts/
RUN for crate in bench crates/*; do mkdir -p $crate/src && : >$crate/src/lib.rs; done && \
    for crate in bench crates/ocelot; do echo 'fn main() {}' >$crate/src/main.rs && rm $crate/src/lib.rs; done && \
    scripts/static-build.sh && \
    rm -rf bench crates scripts

FROM tools AS binary
COPY . .
# What stood in for the crates is older than their sources only by its content, so cargo is told.
RUN find bench crates -name '*.rs' -exec touch {} + && scripts/static-build.sh && \
    mkdir -p /image/tmp /image/data /image/etc/ssl/certs && chmod 1777 /image/tmp && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    cp target/static/ocelot /image/ocelot

FROM scratch AS server
COPY --from=binary /image /
ENV OCELOT_DATA=/data OCELOT_LISTEN=0.0.0.0:8080
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/ocelot"]
CMD ["server"]

FROM ${GIT_BASE} AS git
RUN apt-get update && \
    apt-get install -y --no-install-recommends git git-lfs openssh-client ca-certificates && \
    rm -rf /var/lib/apt/lists/*
COPY --from=binary /image/ocelot /usr/local/bin/ocelot
ENV OCELOT_DATA=/data OCELOT_LISTEN=0.0.0.0:8080
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/ocelot"]
CMD ["server"]
