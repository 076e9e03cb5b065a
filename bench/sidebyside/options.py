"""The options that the comparison and the growth study share: programs, cores, where results go."""

import datetime
import os
import pathlib
import re
import shutil
import tempfile

from .measure import Cores
from .report import ROOT
from .variants import Programs


def executable(path):
    """A link is kept as it is: a Python environment is found by the path it was called by."""
    found = shutil.which(str(path)) if path else None
    return os.path.abspath(found) if found else None


def add(parser):
    built = ROOT / "target/release"
    for name, default in {
        "tidegate": built / "tidegate",
        "loadgen": built / "tidegate-loadgen",
        "forwarder": built / "tidegate-forwarder",
        "nginx": "nginx",
        "haproxy": "haproxy",
        "python": ROOT / ".cache/bench/python/bin/python",
    }.items():
        env = f"{name.upper()}_BIN"
        parser.add_argument(
            f"--{name}",
            default=os.environ.get(env, default),
            help=f"program [default: {env}, or as built or installed]",
        )
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1, help="core of the generator")
    parser.add_argument(
        "--mock-core", type=int, help="core of the mock server [default: a third one, or the generator's]"
    )
    parser.add_argument(
        "--work",
        type=pathlib.Path,
        default=tempfile.gettempdir(),
        help="where audit segments and all else go meanwhile [default: %(default)s]",
    )
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results")
    parser.add_argument("--date", default=datetime.date.today().isoformat())


def check(parser, args):
    """Turns them into `args.programs` and `args.cores`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", args.name):
        parser.error(f"--name {args.name}: must be lower-case letters, digits and dashes")
    if not args.work.is_dir():
        parser.error(f"--work {args.work}: must be a directory")
    allowed = os.sched_getaffinity(0)
    spare = sorted(allowed - {args.proxy_core, args.load_core})
    mock = args.mock_core if args.mock_core is not None else (spare[0] if spare else args.load_core)
    args.cores = Cores(args.proxy_core, args.load_core, mock)
    if args.proxy_core in (args.load_core, mock) or not {args.proxy_core, args.load_core, mock} <= allowed:
        parser.error(f"--proxy-core, --load-core and --mock-core must be of {sorted(allowed)}, and the proxy's its own")
    names = ("loadgen", "tidegate", "forwarder", "nginx", "haproxy", "python")
    args.programs = Programs(**{name: executable(getattr(args, name)) for name in names})
    if not args.programs.loadgen:
        parser.error("tidegate-loadgen not found: cargo build --release -p tidegate-loadgen, or --loadgen PATH")
