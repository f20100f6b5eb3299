# Two images from one file:
#   runtime   the services: Debian slim and one binary
#   gateway   the same binary with the Rust toolchain, which builds the mounted handlers
#
# No `# syntax` line: Docker's own frontend does, and is there without a network.
# Both bases are Debian bookworm, so that the binary finds the libc it was linked with.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS rust
# The image's own toolchain, whatever rust-toolchain.toml would have rustup fetch.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION} CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never

# --- longshore ---------------------------------------------------------------------------
FROM rust AS longshore
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY docs/openapi.json docs/openapi.json
COPY services services
# The workspace without the handlers: editing one must not build Longshore anew. Cargo goes
# by time stamps, and the kept target folder may have seen a newer checkout.
RUN --mount=type=cache,id=longshore-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=longshore-target,target=/build/target,sharing=locked \
    sed -i 's|^members = .*|members = ["services/*"]|' Cargo.toml \
    && find services docs -type f -exec touch {} + \
    && CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --release --package longshore --bin longshore \
    && install -D target/release/longshore /out/longshore

# --- the services ------------------------------------------------------------------------
FROM ${RUNTIME_IMAGE} AS runtime
COPY docker/healthcheck /usr/local/bin/
RUN install -d -m 1777 /state /run/longshore
COPY --from=longshore /out/longshore /usr/local/bin/
ENV LONGSHORE_HOST=0.0.0.0 HOME=/state
WORKDIR /state
USER 1000:1000
ENTRYPOINT ["longshore"]

# --- the gateway and the functions -------------------------------------------------------
FROM rust AS skeleton
COPY . /sources
RUN /sources/docker/skeleton /sources /skeleton

# What the handlers need, compiled once until a manifest or Cargo.lock changes; then the
# handlers themselves. Where the gateway does it: cargo knows packages by their folders.
FROM rust AS dependencies
ENV CARGO_HOME=/cargo
COPY docker/warm /usr/local/bin/
COPY --from=skeleton /skeleton /workspace
RUN mkdir /cargo /target && warm skeleton

FROM dependencies AS handlers
COPY handlers /workspace/handlers
COPY services/pipeline-contract /workspace/services/pipeline-contract
COPY docker/keep /usr/local/bin/
RUN warm && keep

FROM rust AS gateway
# Written by whoever runs the container. `prepared` fills the first two from /seed, which is
# small: most of it is links to /warm. So the first build needs no network, and little time.
RUN install -d -m 1777 /cargo /target /state /run/longshore
COPY --from=handlers /warm /warm
COPY --from=handlers /seed /seed
COPY docker/prepared docker/healthcheck /usr/local/bin/
COPY --from=longshore /out/longshore /usr/local/bin/
ENV CARGO_HOME=/cargo LONGSHORE_TARGET_DIR=/target HOME=/state \
    LONGSHORE_HOST=0.0.0.0 LONGSHORE_WORKSPACE=/workspace LONGSHORE_STATE_DIR=/state
WORKDIR /workspace
USER 1000:1000
ENTRYPOINT ["prepared"]
CMD ["longshore", "gateway"]
