# Not built in this project's CI, which has no container builder: build and try it before you rely on it.
#
#   docker build -t cdp-portal-backend .
#   docker run --read-only --tmpfs /tmp -v cdp-data:/data -p 5094:5094 -e ADMIN_TOKEN=… cdp-portal-backend
#
# It listens on every address of the container, so whoever reaches the published port reaches the API: set ADMIN_TOKEN
# (and WRITE_TOKEN), or the admin routes stay closed. See docs/configuration.md.

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The pinned Node is for development; here it is the image's. No package that is left needs an install script.
RUN npm ci --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=5094 STORE_URL=sqlite:/data/cdp.db
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json LICENSE ./
COPY bin bin
COPY src src
# All that is written goes to the volume: the rest of the file system may be read-only.
RUN mkdir /data && chown node:node /data
VOLUME /data
USER node
EXPOSE 5094
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/live`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Node itself is process 1, so that SIGTERM reaches it; give it 30 s to end (--stop-timeout 30).
CMD ["node", "bin/cdp.mjs", "serve"]
