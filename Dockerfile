# The command in an image: docs/packaging.md "An image".
FROM node:24-trixie-slim AS build
WORKDIR /build
COPY . .
RUN npm ci --no-audit --no-fund
RUN npm pack --silent --pack-destination /tmp && npm install --global --prefix /image --no-audit --no-fund /tmp/wireonce-*.tgz

FROM node:24-trixie-slim
COPY --from=build /image/ /usr/local/
# What needs no interface needs no rights. A daemon is run by root: --user 0 --cap-add NET_ADMIN --device /dev/net/tun
USER node
ENTRYPOINT ["wireonce"]
CMD ["--help"]
