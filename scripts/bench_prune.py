#!/usr/bin/env python3
"""Prune beside borg and restic: a history of which half is forgotten, in one run.

usage: bench_prune.py [--files N] [--snapshots N] [--work DIR] [--tools coffer,restic,borg] [--change PERCENT] [--json FILE]

Lays out a tree of N small files (Go's standard library and module cache, as often as needed), backs it up, changes
some files, backs up again and so on, with each tool in turn. Then every second snapshot is forgotten and the
repository pruned, and pruned once more. Prints for each tool: wall s, CPU s, peak MiB of each step, and the size
of the repository before and after. Quiet machine, on tmpfs: only ratios within one run mean anything.
"""
import argparse, json, os, pathlib, random, shutil, subprocess, sys, time


def lay_out(base, files):
    """Copies source files until there are enough of them."""
    if base.exists():
        return
    base.mkdir(parents=True)
    env = lambda name: subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip()
    found = []
    for root in (env("GOROOT") + "/src", env("GOMODCACHE")):
        for at, dirs, names in os.walk(root):
            dirs[:] = sorted(d for d in dirs if d != "cache")
            found += [(root, os.path.join(at, n)) for n in sorted(names) if os.path.isfile(os.path.join(at, n))]
    for i in range(files):
        root, path = found[i % len(found)]
        to = base / str(i // len(found)) / os.path.relpath(path, root)
        to.parent.mkdir(parents=True, exist_ok=True)
        data = pathlib.Path(path).read_bytes()
        to.write_bytes(data if i < len(found) else b"%d\n" % (i // len(found)) + data)


def change(base, percent, seed):
    """Rewrites some files, as people do: a line is put in, here and there."""
    rnd = random.Random(seed)
    for at, dirs, names in os.walk(base):
        dirs.sort()
        for n in sorted(names):
            if rnd.random() * 100 < percent:
                p = pathlib.Path(at, n)
                data = p.read_bytes()
                k = rnd.randrange(len(data) + 1)
                p.write_bytes(data[:k] + b"\nchanged %d %d\n" % (seed, rnd.getrandbits(60)) + data[k:])


def run(argv, env):
    t0 = time.time()
    p = subprocess.Popen(argv, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = p.stderr.read()
    _, status, ru = os.wait4(p.pid, 0)
    if status:
        raise SystemExit(f"{argv}: {err.decode(errors='replace')[-800:]}")
    return {"s": time.time() - t0, "cpu": ru.ru_utime + ru.ru_stime, "mib": ru.ru_maxrss / 1024}


def size(path):
    return int(subprocess.run(["du", "-sb", str(path)], capture_output=True, text=True, check=True).stdout.split()[0])


def out(argv, env):
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout


class Coffer:
    def __init__(self, root):
        self.env = {"COFFER_REPOSITORY": f"{root}/repo", "COFFER_PASSWORD": "x", "COFFER_CACHE_DIR": f"{root}/cache"}
        run(["coffer", "init", "--quiet"], self.env)

    def backup(self, path, n):
        return run(["coffer", "backup", "--quiet", str(path)], self.env)

    def ids(self):
        return [s["id"] for s in json.loads(out(["coffer", "snapshots", "--json"], self.env))]

    def steps(self, ids):
        return {"forget": ["coffer", "forget", "--quiet", *ids], "prune": ["coffer", "prune", "--quiet"], "again": ["coffer", "prune", "--quiet"],
                "check": ["coffer", "verify", "--quiet", "--read-data"]}


class Restic:
    def __init__(self, root):
        self.env = {"RESTIC_REPOSITORY": f"{root}/repo", "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": f"{root}/cache"}
        run(["restic", "init", "-q"], self.env)

    def backup(self, path, n):
        return run(["restic", "backup", "-q", str(path)], self.env)

    def ids(self):
        return [s["id"] for s in json.loads(out(["restic", "snapshots", "--json"], self.env))]

    def steps(self, ids):
        return {"forget": ["restic", "forget", "-q", *ids], "prune": ["restic", "prune", "-q"], "again": ["restic", "prune", "-q"],
                "check": ["restic", "check", "-q", "--read-data"]}


class Borg:
    def __init__(self, root):
        self.env = {"BORG_REPO": f"{root}/repo", "BORG_PASSPHRASE": "x", "BORG_BASE_DIR": f"{root}/cache", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
        run(["borg", "init", "-e", "repokey-blake2"], self.env)

    def backup(self, path, n):
        return run(["borg", "create", "-C", "zstd,3", f"::a{n:04d}", str(path)], self.env)

    def ids(self):
        return [a["name"] for a in json.loads(out(["borg", "list", "--json"], self.env))["archives"]]

    def steps(self, ids):
        return {"forget": ["borg", "delete", *("::" + i if k == 0 else i for k, i in enumerate(ids))], "prune": ["borg", "compact"],
                "again": ["borg", "compact"], "check": ["borg", "check", "--verify-data"]}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--files", type=int, default=64000)
    a.add_argument("--snapshots", type=int, default=16)
    a.add_argument("--change", type=float, default=2)
    a.add_argument("--work", default="/dev/shm/coffer-prune")
    a.add_argument("--tools", default="coffer,restic,borg")
    a.add_argument("--json")
    a = a.parse_args()
    work = pathlib.Path(a.work)
    shutil.rmtree(work, ignore_errors=True)
    lay_out(work / "tree", a.files)
    tools = {}
    for name in a.tools.split(","):
        (work / name).mkdir()
        tools[name] = {"coffer": Coffer, "restic": Restic, "borg": Borg}[name](work / name)
    for n in range(a.snapshots):
        if n:
            change(work / "tree", a.change, n)
        for t in tools.values():
            t.backup(work / "tree", n)
    table = {}
    for name, t in tools.items():
        before = size(work / name / "repo")
        row = {step: run(argv, t.env) for step, argv in t.steps(t.ids()[::2]).items()}
        table[name] = {"before": before, "after": size(work / name / "repo"), **row}
    for name, row in table.items():
        steps = "  ".join(f"{k} {v['s']:.2f}s cpu {v['cpu']:.2f} {v['mib']:.0f}MiB" for k, v in row.items() if isinstance(v, dict))
        print(f"{name:8} {row['before'] / 2**20:.0f} -> {row['after'] / 2**20:.0f} MiB  {steps}")
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(table, indent=1))
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
