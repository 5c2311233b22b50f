"""The modules of ``espnet_wsm/bin``, which are for people, grouped as ``--help`` shows them."""

GROUPS = {
    "Data": ("preview", "prepare_corpus", "validate_data_dir", "fix_data_dir", "report_data_dir", "suggest"),
    "Upstreams": (
        "list_upstreams",
        "fetch_upstream",
        "inspect_upstream",
        "layers",
        "convert",
        "probe_upstream",
        "make_random_upstream",
        "export_upstream",
    ),
    "Training and decoding": (
        "asr_train",
        "hubert_train",
        "asr_inference",
        "asr_inference_greedy",
        "asr_inference_lm",
    ),
    "Scoring and experiments": ("score", "report", "compare_systems", "run_experiments", "make_report"),
    "Use": ("transcribe", "annotate", "serve", "align", "export_onnx", "convert_annotations"),
}

# Where options of a command are declared, besides its own module; completion reads these files too.
_TEXT = "espnet_wsm.data.text.rules"
_CHANNEL = "espnet_wsm.data.audio.channels"
_SOURCE = "espnet_wsm.data.corpora.sources"
_TRAINED = "espnet_wsm.recognition.model_options"
_MODEL = ("espnet_wsm.recognition.options", _TRAINED)
_OUTPUTS = "espnet_wsm.recognition.outputs"
_UTTERANCES = "espnet_wsm.recognition.utterance_options"
_GREEDY = "espnet_wsm.bin.asr_inference_greedy"
_CONFIG = "espnet2.utils.config_argparse"
_LIVE = "espnet_wsm.recognition.live_command"
_TIMING = "espnet_wsm.recognition.live_options"
OPTIONS_DECLARED_IN = {
    "preview": (_SOURCE, _TEXT),
    "prepare_corpus": (_SOURCE,),
    "validate_data_dir": (_TEXT, _CHANNEL),
    "fix_data_dir": (_TEXT,),
    "report_data_dir": (_TEXT,),
    "suggest": (_TEXT,),
    "hubert_train": ("espnet2.tasks.hubert", "espnet2.tasks.abs_task", _CONFIG),
    "asr_train": ("espnet2.tasks.asr", "espnet2.tasks.abs_task", _CONFIG),
    "asr_inference": ("espnet2.bin.asr_inference", _CONFIG),
    "asr_inference_greedy": (_CONFIG,),
    "asr_inference_lm": (_GREEDY, _CONFIG),
    "transcribe": (_CHANNEL, *_MODEL, _OUTPUTS, _UTTERANCES, _LIVE, _TIMING),
    "serve": (_CHANNEL, *_MODEL, _TIMING),
    "annotate": (_CHANNEL, *_MODEL, _UTTERANCES),
    "align": (_CHANNEL, *_MODEL, _OUTPUTS),
    "export_onnx": (_TRAINED,),
    "layers": (_CHANNEL,),
    "convert": (_CHANNEL,),
}
