#!/usr/bin/env bash
# Does coffer's main job on real input (the source tree of the installed Go),
# with a repository in a temporary directory, and checks what comes back.
set -euo pipefail
coffer=${1:?usage: demo.sh PATH-OF-COFFER}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export COFFER_REPOSITORY=$work/repository COFFER_CACHE_DIR=$work/cache COFFER_PASSWORD=demo

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '$ coffer %s\n' "${*//$work/\$work}"; "$coffer" "$@"; }

say "A tree to back up: the Go source tree, with a hard link and symlinks"
mkdir "$work/home"
cp -a "$(go env GOROOT)/src" "$work/home/src"
chmod -R u+w "$work/home"
ln "$work/home/src/make.bash" "$work/home/same-file"
ln -s src/README.vendor "$work/home/link"
ln -s /nowhere/at/all "$work/home/dangling"
find "$work/home" | wc -l

say "A new repository"
run init

say "First backup"
run backup "$work/home"

say "Some changes, then a second backup"
sleep 0.1
echo '// changed' >>"$work/home/src/fmt/print.go"
rm -r "$work/home/src/net/http/httptest"
echo 'new' >"$work/home/new file"
cp -a "$work/home" "$work/expected"
run backup "$work/home"

say "Look at them"
run snapshots
run ls "latest:$work/home"
run diff latest~1 latest
run history "$work/home/src/fmt/print.go"
run find 'print.go'

say "Restore and compare"
run restore "latest:$work/home" --target "$work/back"
diff -r --no-dereference "$work/expected" "$work/back"
test "$work/back/same-file" -ef "$work/back/src/make.bash"
test "$(readlink "$work/back/dangling")" = /nowhere/at/all
if command -v rsync >/dev/null; then
	differences=$(rsync -aHAXn --checksum --modify-window=-1 --delete --itemize-changes "$work/home/" "$work/back/")
	test -z "$differences" || { echo "$differences"; exit 1; }
fi
echo "the restored tree is equal to the source: contents, hard links, symlinks, owners, modes, times"

say "Forget the first snapshot, and free what only it needed"
run forget --keep-last 1 --prune
run snapshots

say "Verify every byte"
run verify --read-data

say "Done"
