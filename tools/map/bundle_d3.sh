#!/bin/sh
# Makes service/static/d3.js, the part of D3 that pans and zooms the map, from pinned npm packages: sh tools/map/bundle_d3.sh
set -eu
target=$(cd "$(dirname "$0")/../../service/static" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --save-exact d3-color@3.1.1 d3-dispatch@3.0.2 d3-drag@3.0.1 d3-ease@3.0.2 d3-interpolate@3.0.2 \
  d3-selection@3.0.1 d3-timer@3.0.2 d3-transition@3.0.2 d3-zoom@3.0.1 esbuild@0.28.2
cat >entry.mjs <<'ENTRY'
export { zoom, zoomIdentity } from "d3-zoom";
export { select } from "d3-selection";
ENTRY
npx esbuild entry.mjs --bundle --minify --format=esm --target=es2022 --legal-comments=none \
  --banner:js='// d3-zoom 3.0.1 and d3-selection 3.0.1 with what they need. Licenses: NOTICE.txt' --outfile="$target/d3.js"
