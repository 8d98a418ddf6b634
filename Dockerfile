# A node in a container: build it, then
#
#     docker run --name waymeet --network host -v waymeet:/data waymeet
#     docker exec waymeet waymeet open
#
# The dashboard listens on 127.0.0.1, and on the local network once `waymeet password` and
# `waymeet dashboard --lan on` say so. Inside a network of the container's own nobody could reach it. With
# `--network host` it is at http://127.0.0.1:7340 of the machine that runs the container, and contacts
# on the local network can reach the node. `open` prints a link that signs a browser in, once.
#
# Bluetooth needs the host's network too, because the kernel has Bluetooth sockets nowhere else, and the
# way to the host's bluetoothd: -v /run/dbus/system_bus_socket:/run/dbus/system_bus_socket. Where AppArmor
# guards the bus (Ubuntu) it also takes --security-opt apparmor=unconfined, or a profile of one's own.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin waymeet

FROM debian:bookworm-slim
# Without root's rights, and under a number that a volume can be given to.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin waymeet \
    && install --directory --owner=waymeet --group=waymeet --mode=0700 /data
COPY --from=build /src/target/release/waymeet /usr/local/bin/waymeet
ENV WAYMEET_DATA_DIR=/data
VOLUME /data
USER waymeet
STOPSIGNAL SIGTERM
# The image has no HTTP client of its own; the command asks the running node.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["waymeet", "status", "--json"]
ENTRYPOINT ["waymeet"]
