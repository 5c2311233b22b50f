"""The rules of the tree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "espnet_wsm"
# The upstream in the box, made by egs/debian_multi/ssl1/run.sh.
SHIPPED_WEIGHTS = ROOT / "egs/debian_multi/ssl1/hubert_debian_multi/model.safetensors"
# What commands may import.
LIBRARY = {"mixing", "upstream", "transfer", "pretraining", "plugin", "recognition", "data", "scoring"}
LIBRARY |= {"deploy", "report", "allocator", "annotations", "files", "frames", "errors", "tables"}
# What describes, measures and shows the arms of benchmarks and experiments.
PRESENTATION = {"arms", "figures", "meters", "tables"}
# What each part may import of the package.
MAY_IMPORT = {
    "errors": set(),
    "allocator": {"errors"},
    "files": {"errors"},
    "frames": set(),
    "rules": {"errors"},
    "tables": set(),
    "arms": set(),
    "figures": {"arms", "files"},
    "meters": set(),
    "mixing": set(),
    "upstream": {"mixing", "rules", "files", "frames", "errors"},
    "transfer": {"mixing", "upstream", "data", "figures", "files", "frames", "errors", "tables"},
    "pretraining": {"upstream", "data", "files", "frames", "errors", "tables"},
    "recipe": {"arms", "files", "errors"},
    "plugin": {"mixing", "upstream", "data", "recipe", "rules", "allocator", "files", "frames", "errors"},
    "recognition": {"plugin", "upstream", "data", "annotations", "allocator", "files", "frames", "errors"},
    "deploy": {"recognition", "plugin", "upstream", "data", "files", "frames", "errors"},
    "data": {"annotations", "files", "frames", "errors", "tables"},
    "annotations": {"files", "errors"},
    "scoring": {"data", "arms", "files", "frames", "errors", "tables"},
    "report": {"recognition", "scoring", "data", "annotations", "arms", "files", "frames", "errors"},
    "experiments": {"upstream", "scoring", "data", "files", "frames", "errors", *PRESENTATION},
    "benchmark": {
        *LIBRARY - {"transfer", "pretraining", "data", "scoring", "report"},
        "rules",
        *PRESENTATION,
    },
    "__main__": {"cli", "errors"},
    "cli": {"bin", "stages", "scoring"},
    "advice": {"experiments", "data", "arms", "files", "frames", "errors"},
    "serve": {"recognition", "data", "annotations", "files", "frames", "errors"},
    "stages": {*LIBRARY, "arms", "figures", "recipe", "bin"},
    "bin": {*LIBRARY, "experiments", "serve", "advice"},
}


def imported_modules(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_one_way(file):
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    used = {name.split(".")[1] for name in imported_modules(file) if name.startswith("espnet_wsm.")}
    assert used - {part} <= MAY_IMPORT[part]
    if part in ("data", "annotations", "scoring", "recipe"):
        heavy = {name.split(".")[0] for name in imported_modules(file)}
        if file.parent == PACKAGE / "data/features":
            heavy -= {"torch"}  # they come and are stored as tensors: numpy knows no bfloat16
        assert not heavy & {"torch", "torchaudio", "espnet", "espnet2", "s3prl", "transformers"}


def test_every_part_of_the_package_has_a_rule():
    parts = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in sources()}
    assert parts - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    "module",
    [
        *(f"bin.{name}" for name in ("validate_data_dir", "score", "compare_systems", "convert_annotations")),
        *("bin.report", "report.page", "bin.suggest", "advice.suggestion"),
        *(f"stages.{name}" for name in ("make_tokens", "make_results")),
        *(f"data.features.{name}" for name in ("plan", "writer", "reader")),  # to plan, close and check
    ],
)
def test_data_and_scoring_start_without_torch(module):
    heavy = "{'torch', 'espnet2', 's3prl'}"
    code = f"import sys, espnet_wsm.{module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_espnets_class_registry_is_touched_in_one_file():
    touching = [f.name for f in sources() if re.search("_choices|DATA_TYPES", f.read_text())]
    assert touching == ["register.py"]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_there_are_no_symlinks_and_no_large_files():
    for file in tracked_files():
        assert not file.is_symlink(), file
        limit = 12_000_000 if file == SHIPPED_WEIGHTS else 200_000
        assert file.stat().st_size <= limit, file


def test_scripts_that_are_started_go_on_in_bash_where_sh_is_another_shell():
    scripts = [file for file in tracked_files() if file.suffix == ".sh"]
    started = [file for file in scripts if file.read_text().startswith("#!")]
    assert len(started) > 20
    assert [
        file for file in started if '[ -n "${BASH_VERSION:-}" ] || exec bash' not in file.read_text()
    ] == []


def test_modules_stay_short():
    long = {file: count for file in sources() if (count := len(file.read_text().splitlines())) > 350}
    assert not long, "a module of that length has two subjects"


def test_stage_scripts_and_recipes_stay_short():
    for file in (ROOT / "egs").glob("*/asr1/run.sh"):
        assert len(file.read_text().splitlines()) <= 40, file
    for name in ("data", "frontend", "train", "decode", "score"):
        assert len((ROOT / "egs/common" / f"{name}.sh").read_text().splitlines()) < 100, name


def test_files_beside_the_code_are_in_the_wheel():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    named = next(
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "package_data"
    )
    packed = {
        file
        for package, patterns in named.items()
        for pattern in patterns
        for file in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    beside = {file for file in tracked_files() if file.is_relative_to(PACKAGE) and file.suffix != ".py"}
    assert len(beside) > 5 and beside - packed == set()


def test_modules_mirror_the_tests():
    parts = "mixing upstream pretraining plugin recognition recipe data annotations scoring experiments"
    parts += " benchmark cli report serve advice"
    for part in parts.split():
        assert list((ROOT / "tests" / part).rglob("test_*.py")), part
