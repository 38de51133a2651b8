#!/usr/bin/env python3
"""Coffer beside the backup tools that are installed, on the same inputs, in turn, in one run.

usage: bench.py [--in DIR] [--out DIR] [--runs N] [--tools coffer,restic,kopia,borg] [--loads small,home,large] [--json FILE]

--in holds the inputs; what is missing there is laid out first: small/ (source files: Go's module cache and its
standard library), home/ (the same and /usr/share/doc and shared libraries), large/ (one file of 2 GB that does
not compress). Quiet machine, both on tmpfs: only ratios within one run mean anything.
Prints for each load and operation: wall s, CPU s, peak MiB, repository MiB, and the wall time relative to the
fastest tool that is not coffer.
"""
import argparse, json, os, pathlib, shutil, statistics, subprocess, sys, time


def sh(text):
    subprocess.run(["sh", "-c", text], check=True)


def lay_out(base):
    """Makes the inputs that are not there."""
    base.mkdir(parents=True, exist_ok=True)
    env = lambda name: subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip()
    if not (base / "small").exists():
        (base / "small").mkdir()
        sh(f"cp -a {env('GOROOT')}/src {base}/small/go; cp -a {env('GOMODCACHE')} {base}/small/mod; "
           f"rm -rf {base}/small/mod/cache; chmod -R u+w {base}/small")
    if not (base / "home").exists():
        (base / "home").mkdir()
        sh(f"cp -a {base}/small {base}/home/src; cp -a /usr/share/doc {base}/home/docs; "
           f"cp -a /usr/lib/x86_64-linux-gnu {base}/home/bin; chmod -R u+w {base}/home")
    if not (base / "large").exists():
        (base / "large").mkdir()
        sh(f"head -c 2000000000 /dev/urandom > {base}/large/random")


class Tool:
    """One tool with a repository of its own. Each operation is an argument list."""

    def __init__(self, root):
        self.root, self.repo, self.n = root, root / "repo", 0
        self.env = {k: v.format(root=root, repo=self.repo) for k, v in self.ENV.items()}


class Coffer(Tool):
    name = "coffer"
    ENV = {"COFFER_REPOSITORY": "{repo}", "COFFER_PASSWORD": "x", "COFFER_CACHE_DIR": "{root}/cache"}
    init = lambda s: ["coffer", "init", "--quiet"]
    backup = lambda s, path: ["coffer", "backup", "--quiet", str(path)]
    restore = lambda s, path, to: ["coffer", "restore", "--quiet", "--target", str(to), "latest"]
    check = lambda s: ["coffer", "verify", "--quiet", "--read-data"]


class Restic(Tool):
    name = "restic"
    ENV = {"RESTIC_REPOSITORY": "{repo}", "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": "{root}/cache"}
    init = lambda s: ["restic", "init", "-q"]
    backup = lambda s, path: ["restic", "backup", "-q", str(path)]
    restore = lambda s, path, to: ["restic", "restore", "-q", "latest", "--target", str(to)]
    check = lambda s: ["restic", "check", "-q", "--read-data"]


class Kopia(Tool):
    name = "kopia"
    ENV = {"KOPIA_PASSWORD": "x", "KOPIA_CONFIG_PATH": "{root}/config", "KOPIA_CACHE_DIRECTORY": "{root}/cache",
           "KOPIA_LOG_DIR": "{root}/log", "KOPIA_CHECK_FOR_UPDATES": "false"}
    init = lambda s: ["sh", "-c", f"kopia repository create filesystem --path {s.repo} && "
                                  "kopia policy set --global --compression zstd-fastest"]
    backup = lambda s, path: ["kopia", "snapshot", "create", "--no-progress", str(path)]
    restore = lambda s, path, to: ["sh", "-c", f"kopia restore --no-progress $(kopia snapshot list --json {path} | "
                                   "python3 -c 'import json,sys; print(json.load(sys.stdin)[-1][\"id\"])') " + str(to)]
    check = lambda s: ["kopia", "snapshot", "verify", "--verify-files-percent=100"]


class Borg(Tool):
    name = "borg"
    ENV = {"BORG_REPO": "{repo}", "BORG_PASSPHRASE": "x", "BORG_BASE_DIR": "{root}/base"}
    init = lambda s: ["borg", "init", "-e", "repokey-blake2"]

    def backup(self, path):
        self.n += 1
        return ["borg", "create", "-C", "auto,zstd,1", f"::{self.n}", str(path)]

    restore = lambda s, path, to: ["sh", "-c", f"mkdir -p {to} && cd {to} && borg extract ::{s.n}"]
    check = lambda s: ["borg", "check", "--verify-data"]


TOOLS = {t.name: t for t in (Coffer, Restic, Kopia, Borg)}


def measure(argv, env):
    """Runs argv; returns wall s, CPU s and peak MiB, or ends the benchmark with what it said."""
    begun = time.monotonic()
    with open(os.devnull, "rb") as nothing, open("/tmp/bench.stderr", "wb") as said:
        p = subprocess.Popen(argv, env={**os.environ, **env}, stdin=nothing, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(p.pid, 0)
    if status != 0:
        sys.exit(f"{argv} ended with {status}:\n" + open("/tmp/bench.stderr", errors="replace").read()[-2000:])
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def mib(path):
    return int(subprocess.run(["du", "-sm", str(path)], capture_output=True, text=True, check=True).stdout.split()[0])


def touch_some(tree):
    """Appends to one file in 100; returns what puts them back."""
    undo = []
    for f in sorted(p for p in tree.rglob("*") if p.is_file() and not p.is_symlink())[::100]:
        st = f.stat()
        undo.append((f, st.st_size, st.st_mtime_ns))
        with open(f, "ab") as h:
            h.write(b"// changed\n")
    return undo


def one(tool, load, src, note):
    """All operations of one tool on one load."""
    measure(tool.init(), tool.env)
    note("first", measure(tool.backup(src), tool.env), mib(tool.repo))
    if load != "large":
        note("unchanged", measure(tool.backup(src), tool.env))
        undo = touch_some(src)
        note("1 % changed", measure(tool.backup(src), tool.env))
        for f, size, mtime in undo:
            os.truncate(f, size)
            os.utime(f, ns=(mtime, mtime))
    target = tool.root / "restored"
    note("restore", measure(tool.restore(src, target), tool.env))
    sh(f"rm -rf {target}")
    note("check all", measure(tool.check(), tool.env))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--in", dest="inputs", type=pathlib.Path, default=pathlib.Path("/dev/shm/coffer-bench-in"))
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("/dev/shm/coffer-bench-out"))
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--tools", default=",".join(t for t in TOOLS if shutil.which(t)))
    p.add_argument("--loads", default="small,home,large")
    p.add_argument("--json", type=pathlib.Path)
    a = p.parse_args()
    lay_out(a.inputs)
    rows = {}
    for _ in range(a.runs):
        for load in a.loads.split(","):
            for name in a.tools.split(","):
                root = a.out / name
                sh(f"rm -rf {root}; mkdir -p {root}; tar cf - {a.inputs / load} 2>/dev/null | cat >/dev/null")
                one(TOOLS[name](root), load, a.inputs / load,
                    lambda op, m, size=None: rows.setdefault((load, op), {}).setdefault(name, []).append((*m, size)))
                sh(f"rm -rf {root}")
    out = []
    print(f"{'load':7} {'operation':12} {'tool':7} {'wall s':>7} {'CPU s':>7} {'peak MiB':>9} {'repo MiB':>9} {'to fastest peer':>16}")
    for (load, op), tools in rows.items():
        med = {n: [statistics.median(m[i] for m in ms) for i in range(3)] + [ms[0][3]] for n, ms in tools.items()}
        best = min((m[0] for n, m in med.items() if n != "coffer"), default=None)
        for n, (wall, cpu, peak, size) in sorted(med.items(), key=lambda kv: kv[1][0]):
            ratio = f"{wall / best:.2f}" if best else ""
            print(f"{load:7} {op:12} {n:7} {wall:7.2f} {cpu:7.2f} {peak:9.0f} {size if size is not None else '':>9} {ratio:>16}")
            out.append(dict(load=load, op=op, tool=n, wall=wall, cpu=cpu, peak=peak, repo=size))
    if a.json:
        a.json.write_text(json.dumps(out, indent=1))


main()
