# The operator's image, and with `--target node` the stand-in node for tests on a cluster.
#
# `cargo xtask image` lays out the files here, as it does where there is no Docker, so both ways
# give the same image. A test compares what is said twice: user, entrypoint and labels.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo xtask image operator --rootfs /rootfs/operator \
 && cargo xtask image node --rootfs /rootfs/node

FROM scratch AS node
COPY --from=build /rootfs/node /
COPY --from=build --chown=65532:65532 /rootfs/node/var/lib/flare /var/lib/flare
LABEL org.opencontainers.image.title="flare-e2e" \
      org.opencontainers.image.description="A stand-in for flared, for tests" \
      org.opencontainers.image.version="0.1.0"
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["/usr/bin/flare-e2e"]

FROM scratch AS operator
COPY --from=build /rootfs/operator /
COPY --from=build --chown=65532:65532 /rootfs/operator/var/lib/flare /var/lib/flare
LABEL org.opencontainers.image.title="flare-operator" \
      org.opencontainers.image.description="The index of a GREE Flare cluster: a drop-in flarei, and a Kubernetes operator" \
      org.opencontainers.image.version="0.1.0"
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["/usr/bin/flare-operator"]
