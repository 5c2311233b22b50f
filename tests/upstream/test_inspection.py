"""What inspect_upstream says of an upstream."""

import re

import pytest

from espnet_wsm.bin.inspect_upstream import main
from espnet_wsm.upstream import WsmConfig, find_checkpoint
from espnet_wsm.upstream.inspection import inspect_upstream


def test_it_prints_family_layers_norms_digest_and_what_would_train(upstream_path, capsys):
    path = upstream_path("hubert", False)
    main([path, "--num_replaced", "1", "--trainable", "mixer"])
    printed = capsys.readouterr().out
    rows = dict(line.split(maxsplit=1) for line in printed.partition("\n\n")[0].splitlines())
    assert rows["upstream"] == "hubert_local" and rows["family"].startswith("hubert (one file")
    assert rows["digest"] == find_checkpoint(path).digest
    assert rows["layers"] == "3 of 32"
    assert rows["norms"] == "post-norm layers, group norm in the convolutions" and "padding" not in rows
    assert re.search(r"layer 2 +\| frozen attention", printed) and re.search(r"layer 3 +\| wsm", printed)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_it_measures_what_padding_does(upstream_path, capsys, pre_norm):
    exact, plain = inspect_upstream(WsmConfig(upstream_path("hubert", pre_norm)), padding=True).deviations
    assert exact < 1e-5 and (plain < 1e-5) == pre_norm
    main([upstream_path("hubert", pre_norm), "--padding"])
    assert f"differ by {exact:.1e}" in capsys.readouterr().out


def test_parameters_are_counted_without_what_only_pretraining_needs(upstream_path):
    """With the kept attention nothing is added or taken away: the table has as many."""
    inspection = inspect_upstream(
        WsmConfig(upstream_path("wav2vec2", True), mixer="attention", layers=[1, 3])
    )
    assert inspection.parameters == inspection.table.parameters
    kinds = {row.layer: row.kind for row in inspection.table.rows}
    assert set(kinds.values()) >= {"attention", "layer norm"} and "layer 1" in kinds


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_replaced", "4"], "num_replaced is 4, but the upstream has only 3 layers"),
        (["--layers", "2", "7"], "layers names layer 7, but the upstream has only 3 layers"),
        (["--mixer", "mamba"], "mixer has to be one of"),
    ],
)
def test_what_cannot_be_replaced_is_an_error(upstream_path, capsys, words, message):
    with pytest.raises(SystemExit):
        main([upstream_path("hubert", True), *words])
    assert message in capsys.readouterr().err
