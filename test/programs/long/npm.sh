#!/usr/bin/env bash
# npm ci: thousands of small files, renames of folders, links in .bin. The packages are packed on the
# spot, so that no registry is needed.
set -eu
command -v npm > /dev/null || { echo 'npm is not installed'; exit 77; }
cd "$1"
export HOME="$PWD/home" npm_config_cache="$PWD/cache" npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
mkdir home packages project
dependencies=
for n in $(seq 12); do
  mkdir -p "packages/p$n/lib"
  for m in $(seq 15); do echo "module.exports = $m" > "packages/p$n/lib/$m.js"; done
  echo "{\"name\":\"p$n\",\"version\":\"1.0.0\",\"main\":\"lib/$n.js\",\"bin\":{\"run-p$n\":\"bin.js\"}}" > "packages/p$n/package.json"
  printf '#!/usr/bin/env node\nconsole.log(require("./lib/%d.js"))\n' "$n" > "packages/p$n/bin.js"
  (cd "packages/p$n" && npm pack --silent --pack-destination .. > /dev/null)
  dependencies="$dependencies\"p$n\":\"file:../packages/p$n-1.0.0.tgz\","
done
cd project
echo "{\"name\":\"project\",\"version\":\"1.0.0\",\"dependencies\":{${dependencies%,}}}" > package.json
npm install --silent --offline
rm -rf node_modules
npm ci --silent --offline
test "$(node -p 'Array.from({length: 12}, (_, n) => require(`p${n + 1}`)).join()')" = 1,2,3,4,5,6,7,8,9,10,11,12
test "$(./node_modules/.bin/run-p7)" = 7
npm ls --all > /dev/null
npm ci --silent --offline
