"""Write run.json to an experiment's folder, or refuse a folder that holds a run with other settings."""

import argparse
import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import write_text

RUN_FILE = "run.json"


def describe_git(folder: Path) -> str:
    """Short commit hash of the checkout around ``folder``, ``-dirty`` when tracked files differ from it."""

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "--short", "HEAD")
    except FileNotFoundError:
        return "git not installed"
    if head.returncode != 0:
        return "not a git checkout"
    # Results are tracked, and the run that is being recorded rewrites them.
    results = (":(exclude,top)RESULTS.md", ":(exclude,top)results")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", *results)
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--command", required=True, help="what the user typed")
    parser.add_argument("--file", type=Path, action="append", default=[], help="its content is a setting")
    parser.add_argument("--setting", action="append", default=[], help="any other setting, as text")
    args = parser.parse_args(argv)

    digest = hashlib.sha256()
    for content in [file.read_bytes() for file in args.file] + [text.encode() for text in args.setting]:
        digest.update(len(content).to_bytes(8, "big") + content)
    fingerprint = digest.hexdigest()[:16]

    record = args.dir / RUN_FILE
    # Without a checkpoint nothing can be resumed by mistake, so a run with a corrected setting may start
    # again.
    if record.is_file() and any(args.dir.glob("*.pth")):
        try:
            found = json.loads(record.read_text(encoding="utf-8"))["fingerprint"]
        except (ValueError, KeyError) as error:
            raise UserError(f"{record} is damaged ({error}); delete {args.dir} to start anew") from error
        if found != fingerprint:
            raise UserError(
                f"{args.dir} holds a run of other settings, data or upstream than these; "
                "choose another --tag (in pre-training --name), or delete the folder to start anew"
            )
        return
    run = {
        "command": args.command,
        "git": describe_git(Path(__file__).parent),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "fingerprint": fingerprint,
    }
    write_text(record, json.dumps(run, indent=2).split("\n"))


if __name__ == "__main__":
    main()
