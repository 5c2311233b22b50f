"""The tables of supported and refused upstreams in docs/upstreams.md."""

from pathlib import Path

import pytest

from espnet_wsm.bin.list_upstreams import BEGIN, END, main, render_tables
from espnet_wsm.upstream.families.registry import FAMILIES, REFUSED

ROOT = Path(__file__).parents[2]


def test_the_page_holds_the_tables_that_the_command_prints(capsys):
    main([])
    printed = capsys.readouterr().out.strip()
    page = (ROOT / "docs/upstreams.md").read_text(encoding="utf-8")
    assert f"{BEGIN}\n{printed}\n{END}" in page


def test_every_name_variant_and_refusal_is_in_the_tables():
    tables = render_tables()
    for family in FAMILIES:
        (row,) = [line for line in tables.splitlines() if line.startswith(f"| {family.name} |")]
        for text in (*family.upstreams, *family.variants, *family.full_size, family.form):
            assert text in row
    for name, reason in REFUSED.items():
        assert any(reason in line and (name == "*" or name in line) for line in tables.splitlines())


def test_it_replaces_what_stands_between_the_markers_and_nothing_else(tmp_path, capsys):
    file = tmp_path / "upstreams.md"
    file.write_text(f"# Title\n{BEGIN}\nold\n{END}\n\nend\n", encoding="utf-8")
    main(["--update", str(file)])
    assert file.read_text(encoding="utf-8") == f"# Title\n{BEGIN}\n{render_tables()}\n{END}\n\nend\n"
    file.write_text("no markers", encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["--update", str(file)])
    assert "has to hold the lines" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == "no markers"
