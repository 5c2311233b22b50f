"""What follows from the options of a recipe."""

import subprocess
import sys
from argparse import Namespace

import pytest

from espnet_wsm.errors import UserError
from espnet_wsm.recipe import settings

DEFAULTS = {
    "lang": "", "dump_dir": "dump", "exp_dir": "exp", "tag": "", "train_set": "train", "text_config": "",
    "token_type": "char", "nbpe": "100", "byte_fallback": "false", "nlsyms_txt": "", "speed_perturb": "",
    "upstream": "", "upstream_config": "", "trust": "false", "train_config": "train.yaml", "mixer": "",
    "num_replaced": "", "window": "", "train_minutes": "", "trainable": "", "asr_args": "", "search": "",
    "lm": "", "ngram_order": "3", "valid_set": "dev", "cache_dtype": "float16", "join_to": "",
    "transfer": "auto", "transfer_args": "", "cache": "auto", "unlabelled": "", "pseudo_rounds": "0",
    "pseudo_confidence": "0.25", "guide": "", "convert": "0", "convert_args": "",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A recipe's folder with a training configuration, in which the tests run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yaml").write_text("optim: adam\n")
    return tmp_path


def options(**given: str) -> Namespace:
    return Namespace(**DEFAULTS | given)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "exp/asr_train_char"),
        ({"tag": "first"}, "exp/asr_first"),
        ({"tag": "asr_first", "mixer": "wsm", "exp_dir": "exp/it"}, "exp/it/asr_first"),
        ({"train_config": "../conf/train_asr.yaml", "token_type": "bpe"}, "exp/asr_train_asr_bpe100"),
        ({"token_type": "unigram", "nbpe": "30", "byte_fallback": "true"}, "exp/asr_train_unigram30_bytes"),
        (
            {"mixer": "wsm", "num_replaced": "2", "window": "9", "trainable": "suffix"},
            "exp/asr_train_char_wsm_k2_w9_suffix",
        ),
        (
            {"upstream_config": "conf/upstream/wavlm.yaml", "upstream": "upstreams/w/"},
            "exp/asr_train_char_wavlm_w",
        ),
        ({"guide": "exp/asr_first/"}, "exp/asr_train_char_guided_by_first"),
        ({"convert": "all", "num_replaced": "3"}, "exp/asr_train_char_converted_all_k3"),
        ({"convert": "2", "unlabelled": "talk", "transfer": "0"}, "exp/asr_train_char_converted_2_talk"),
        ({"guide": "exp/asr_a", "unlabelled": "../talk"}, "exp/asr_train_char_talk_guided_by_a"),
        (
            {"guide": "exp/asr_a", "unlabelled": "rest", "train_minutes": "5"},
            "exp/asr_train_char_rest_guided_by_a_5min",
        ),
        ({"guide": "exp/asr_x0.5/valid.loss.ave.pth"}, "exp/asr_train_char_guided_by_x0.5"),
        (
            {"transfer": "400", "unlabelled": "../talk/", "mixer": "local"},
            "exp/asr_train_char_local_transfer400_talk",
        ),
        ({"unlabelled": "talk"}, "exp/asr_train_char_talk"),
        ({"unlabelled": "talk", "mixer": "attention"}, "exp/asr_train_char_attention"),
        ({"unlabelled": "talk", "transfer": "0"}, "exp/asr_train_char_transfer0"),
        (
            {"speed_perturb": "0.9 1.0", "join_to": "20", "train_minutes": "5", "train_set": "all"},
            "exp/asr_train_char_sp_join20_5min_all",
        ),
    ],
)
def test_an_experiment_is_named_by_what_differs(given, name):
    assert settings.name_experiment(options(**given)) == name


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, []),
        ({"unlabelled": "../talk/", "transfer": "0"}, ["_pseudo1_talk", "_pseudo2_talk"]),
        ({"unlabelled": "rest", "train_minutes": "5"}, ["_pseudo1_rest"]),
        ({"unlabelled": "talk", "transfer": "9"}, ["_pseudo1"]),
        ({"unlabelled": "talk"}, ["_pseudo1"]),
        ({"unlabelled": "talk", "transfer": "0", "pseudo_confidence": "0.5"}, ["_pseudo1_talk_without0.5"]),
        ({"unlabelled": "talk", "pseudo_confidence": "0.5", "tag": "t"}, ["_pseudo1", "_pseudo2"]),
    ],
)
def test_rounds_are_folders_beside_the_model_that_they_begin_with(given, names):
    given = options(**given, pseudo_rounds=str(len(names)))
    first, *more = settings.list_rounds(given)
    assert first == settings.name_experiment(given) and more == [f"{first}{name}" for name in names]
    settled = settings.describe_decoding(given)
    assert settled["out"] == f"{(more or [first])[-1]}/decode_greedy", "the last one is decoded"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pseudo_rounds": "1"}, "--pseudo_rounds 1 needs --unlabelled, speech to transcribe"),
        ({"pseudo_rounds": "-1", "unlabelled": "talk"}, "--pseudo_rounds -1 has to be a number of rounds"),
        ({"unlabelled": "rest"}, "--unlabelled rest is what --train_minutes leaves"),
        (
            {"pseudo_rounds": "1", "unlabelled": "talk", "guide": "exp/asr_a"},
            "--pseudo_rounds 1 and --guide are two ways to learn from speech without text: give one",
        ),
        *(
            ({"pseudo_confidence": share}, f"--pseudo_confidence {share} has to be a share from 0 to below 1")
            for share in ("1", "-0.1", "", "half", "1.5")
        ),
    ],
)
def test_rounds_that_cannot_be_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        settings.list_rounds(options(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *(
            ({"convert": each}, f"--convert {each} has to be a number of layers, all")
            for each in ("-1", "x", "")
        ),
        ({"convert": "2", "mixer": "wsm"}, "--convert 2 trains .* omit --mixer wsm; .* --convert_args"),
        ({"convert": "all", "window": "5"}, 'instead of --window 5 give --convert_args "--window 5"'),
        ({"convert": "2", "transfer": "9"}, "--convert 2 and --transfer 9 are two ways"),
    ],
)
def test_a_conversion_that_cannot_be_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        settings.list_rounds(options(**given))


def test_a_training_has_the_upstream_that_a_conversion_makes():
    given = {"convert": "all", "upstream": "../up/whisper_base/", "asr_args": "--encoder_conf mixer=wsm"}
    folder = "exp/upstream_whisper_base_all"
    assert list_pairs(**given)[-2:] == [
        f"--encoder_conf upstream={folder}", "--encoder_conf mixer=kept"
    ]  # fmt: skip
    assert settings.list_parent_arguments(options(**given)) == settings.list_training_arguments(
        options(**given | {"convert": "0"})
    )
    assert settings.list_converting_arguments(options(**given)) == ["--layers", "all", "--out", folder]


def test_conversions_that_differ_have_folders_of_their_own(folder):
    (folder / "up.yaml").write_text("encoder_conf: {upstream: models/xlsr}\n")
    (folder / "up2.yaml").write_text("encoder_conf: {upstream: models/mine}\n")
    given = [
        {}, {"upstream_config": "up.yaml"}, {"upstream": "other", "upstream_config": "up.yaml"},
        {"unlabelled": "talk"}, {"unlabelled": "rest"}, {"train_set": "more"}, {"convert": "2"},
        {"convert_args": "--steps 9"}, {"convert_args": "--steps 8"}, {"exp_dir": "exp/it"},
        {"train_config": "up2.yaml"}, {"asr_args": "--encoder_conf upstream=last"},
    ]  # fmt: skip
    names = [settings.name_converted(options(**{"convert": "all"} | each)) for each in given]
    assert names[0] == names[4] == "exp/upstream_hubert_debian_multi_all", "rest is heard anyway"
    assert names[1:3] == ["exp/upstream_xlsr_all", "exp/upstream_other_all"]
    assert names[-2:] == ["exp/upstream_mine_all", "exp/upstream_last_all"]
    assert len(set(names)) == len(names) - 1


def list_pairs(**given: str) -> list[str]:
    """The arguments of a training after its configuration, as 'name value'."""
    words = settings.list_training_arguments(options(**given))
    assert words[:2] == ["--config", "train.yaml"]
    return [" ".join(pair) for pair in zip(words[2::2], words[3::2], strict=True)]


def test_a_guide_becomes_an_argument_which_asr_args_can_add_to():
    given = {"guide": "exp/asr_a", "asr_args": "--model_conf guide_weight=0.25"}
    assert list_pairs(**given) == [BOX, "--model_conf guide=exp/asr_a", "--model_conf guide_weight=0.25"]


BOX = f"--encoder_conf upstream={settings.UPSTREAM_IN_THE_BOX}"


def test_options_become_arguments_of_the_training():
    assert list_pairs() == [BOX]
    assert list_pairs(upstream="u", trust="true", mixer="wsm", window="9") == [
        f"--encoder_conf {text}" for text in ("upstream=u", "trust=true", "mixer=wsm", "window=9")
    ]
    assert list_pairs(asr_args="--max_epoch 2\n--seed 1") == [BOX, "--max_epoch 2", "--seed 1"]


def test_a_transfer_learns_from_unlabelled_speech_too():
    def sets(**given: str) -> str:
        words = settings.list_transfer_arguments(options(transfer="9", **given))
        return words[words.index("--sets") + 1]

    assert sets() == "train dev"
    assert sets(unlabelled="../talk/", train_set="all") == "all dev unlabelled"
    assert sets(unlabelled="rest", train_minutes="5") == "train dev", "all of it is learnt from anyway"


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({}, 400),
        ({"mixer": "wsm_heads"}, 400),
        ({"mixer": "attention"}, 0),
        ({"asr_args": "--encoder_conf mixer=lora"}, 0),
        ({"cache": "false"}, 0),
        ({"convert": "all"}, 0),
        ({"transfer": "0"}, 0),
        ({"transfer": "9", "mixer": "attention"}, 9),
    ],
)
def test_blocks_that_can_learn_from_attention_do_so_by_default(given, steps):
    assert settings.count_transfer_steps(options(**given)) == steps
    assert ("--by_default" in settings.list_transfer_arguments(options(**given))) == ("transfer" not in given)


def test_the_mixer_of_a_configuration_counts(folder):
    (folder / "train.yaml").write_text("encoder_conf: {mixer: drop}\n")
    assert settings.count_transfer_steps(options()) == 0
    assert settings.count_transfer_steps(options(mixer="sm")) == 400
    with pytest.raises(UserError, match="--transfer x has to be a number of steps, 0 for none, or auto: 400"):
        settings.count_transfer_steps(options(transfer="x"))


def test_an_upstream_that_a_configuration_names_is_not_replaced(folder):
    (folder / "train.yaml").write_text("encoder_conf: {upstream: mine}\n")
    assert list_pairs() == []
    assert list_pairs(upstream="other") == ["--encoder_conf upstream=other"]


def test_a_second_configuration_becomes_arguments(folder):
    (folder / "up.yaml").write_text(
        "encoder_conf: {upstream: a b, window: [2, 5], width: null}\nmax_epoch: 3\noptim: adam\nflag: false\n"
    )
    assert list_pairs(upstream_config="up.yaml", mixer="sm") == [
        '--encoder_conf upstream="a b"',
        "--encoder_conf window=[2, 5]",
        "--encoder_conf width=null",
        "--max_epoch 3",
        "--optim adam",
        "--flag false",
        "--encoder_conf mixer=sm",
    ]


@pytest.mark.parametrize("option", ["train_config", "upstream_config"])
def test_a_configuration_that_cannot_be_read_is_named(folder, option):
    (folder / "broken.yaml").write_text("encoder_conf: [")
    (folder / "list.yaml").write_text("- a\n")
    for name, reason in (
        ("broken.yaml", "cannot be read: broken.yaml is not YAML"),
        ("list.yaml", "cannot be read: it is not a mapping"),
        ("none.yaml", "does not exist"),
    ):
        for more in ({}, {"upstream": "other"}):
            with pytest.raises(UserError, match=f"--{option} {name} {reason}"):
                settings.list_training_arguments(options(**{option: name} | more))


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_a_search_has_a_folder(search):
    settled = settings.describe_decoding(options(tag="t", search=search))
    assert settled == {"search": search, "out": f"exp/asr_t/decode_{search}"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"search": "best"}, "--search has to be greedy, beam or lm, got best"),
        ({"search": "beam", "lm": "x"}, "--lm is for --search lm, not for --search beam"),
        ({"search": "lm"}, "--search lm needs --lm"),
        ({"lm": "x"}, "--lm x: x is not a file"),
        ({"lm": "text", "train_minutes": "5"}, "--lm text: exp/asr_t/train_5min/text is not a file"),
        ({"lm": "text"}, "--lm text: dump/raw/train/text is not a file"),
    ],
)
def test_a_decoding_that_cannot_be_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        settings.describe_decoding(options(tag="t", **given))


def test_each_language_model_names_a_folder(folder):
    """These digests are in the names of folders that users have."""
    assert settings.describe_decoding(options(tag="t"))["out"] == "exp/asr_t/decode_greedy"
    (folder / "my lm~ü.arpa").write_text("YES\n")
    for order, digest in (("3", "fc4060b9"), ("4", "5d1278cf")):
        assert settings.describe_decoding(options(tag="t", lm="my lm~ü.arpa", ngram_order=order)) == {
            "search": "lm",
            "out": f"exp/asr_t/decode_lm_my_lm___.arpa_{digest}",
            "train_text": "dump/raw/train/text",
        }


def test_a_language_model_is_trained_on_what_the_experiment_was(folder):
    part = folder / "exp/asr_t/train_5min/text"
    part.parent.mkdir(parents=True)
    part.write_text("u1 YES\n")
    rounds = {"unlabelled": "rest", "pseudo_rounds": "1"}
    settled = settings.describe_decoding(options(tag="t", lm="text", train_minutes="5", **rounds))
    assert settled["out"].startswith("exp/asr_t_pseudo1/decode_lm_text_")
    settled = settings.describe_decoding(options(tag="t", lm="text", train_minutes="5"))
    assert settled["train_text"] == "exp/asr_t/train_5min/text" and "/decode_lm_text_" in settled["out"]


def test_the_shell_gets_what_python_has(capfdbinary):
    """Blanks, quotes, line breaks and bytes that are no UTF-8."""
    name = 'it\'s "$x" `a` \\ é \udcff'
    given = DEFAULTS | {"tag": name, "asr_args": "--a *\n'b'"}
    words = [word for option, value in given.items() for word in (f"--{option}", value)]
    settings.main(["experiment", "training", "--", *words])
    script = capfdbinary.readouterr().out + b'printf "%s|" "${exp}" "${training[@]: -3}"'
    shown = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert shown == b"exp/asr_" + name.encode(errors="surrogateescape") + b"|--a|*|'b'|"


def test_what_stages_wait_for_imports_nothing_heavy():
    heavy = "{'numpy', 'torch', 'espnet2', 's3prl', 'tqdm'}"
    code = f"import sys, espnet_wsm.recipe.settings; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
