"""Put what the commands of README.md print today into README.md; what it leaves out stays left out.

    python tests/docs/refresh_readme.py

Each run of lines between two ``...`` is found again by the first words of its first and its last line. Read the
change before it is committed: a figure that moved has a reason.
"""

from __future__ import annotations

import re
import subprocess
import tempfile

from test_readme import README, environment, shown


def label(line: str) -> list[str]:
    """The first words of a line, without figures."""
    return re.findall(r"[A-Za-z][\w.]+", line)[:6]


def find(lines: list[str], wanted: str, start: int) -> int:
    """Position of the next line with the label of ``wanted``."""
    for index in range(start, len(lines)):
        if label(lines[index]) == label(wanted):
            return index
    raise SystemExit(f"no line like this is printed any more; edit README.md by hand first:\n{wanted}")


def refreshed(shown_output: str, printed: str) -> str:
    """The printed text with the same parts left out as in the shown text."""
    lines, position, kept = [line.rstrip() for line in printed.splitlines()], 0, []
    for segment in re.split(r"^\.\.\.\n", shown_output, flags=re.MULTILINE):
        wanted = segment.rstrip("\n").split("\n")
        if not segment.strip():
            kept.append(segment)
            continue
        first = find(lines, wanted[0], position)
        position = find(lines, wanted[-1], first) + 1
        kept.append("\n".join(lines[first:position]) + "\n" * (len(segment) - len(segment.rstrip("\n"))))
    return "...\n".join(kept)


def main() -> None:
    """Rewrite README.md."""
    text = README.read_text()
    with tempfile.TemporaryDirectory() as place:
        for command in shown(text):
            done = subprocess.run(
                command.argv, cwd=place, env=environment(), capture_output=True, text=True, check=True
            )
            if command.output.strip():
                text = text.replace(command.output, refreshed(command.output, done.stdout), 1)
    README.write_text(text)


if __name__ == "__main__":
    main()
