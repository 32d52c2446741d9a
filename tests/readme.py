"""What README.md shows of the demo: made here by `scripts/readme`, compared with a fresh run by test_demo.py."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from annotator import demo

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "images" / "demo.png"
BEGIN, END = "<!-- demo -->\n", "<!-- /demo -->"


def printed(folder: Path) -> str:
    """What `annotator demo` prints on an 80-column terminal when it runs in `folder`."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-m", "annotator", "demo"]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


def block(folder: Path) -> str:
    """The README's block: the command and its output."""
    return f"```console\n$ annotator demo\n{printed(folder)}```\n"


def shown() -> str:
    """The block as it stands in the README."""
    return README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Rewrite block and picture."""
    with tempfile.TemporaryDirectory() as folder:
        text, fresh = README.read_text(encoding="utf-8"), block(Path(folder))
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        README.write_text(before + BEGIN + fresh + END + after, encoding="utf-8")
        demo.readme_picture(PICTURE, demo.run(Path(folder, "demo")))
    print(fresh)


if __name__ == "__main__":
    main()
