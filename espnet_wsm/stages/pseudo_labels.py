"""Self-training: what a trained model makes of speech without text, as labels for the next one.

  plan        choose the utterances: not those with a transcript that is learnt from, no audio to measure on
  transcribe  one job's share of them, by greedy CTC from stored features
  select      leave out empty texts and those of least confidence, and write the lists of a training set
  measure     the error rate of the new model on the validation set, in rounds.json with those before

Example:
  python -m espnet_wsm.stages.pseudo_labels select --out exp/asr_X_pseudo1/labels \\
    --speech dump/raw/unlabelled --leave_out 0.25 --tokens dump/token_list/char --token_type char
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

from espnet_wsm.allocator import find_device
from espnet_wsm.data.dump.batches import check_job, make_batches
from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.dump.pseudo_labels import (
    LABELS,
    Said,
    plan_pool,
    read_pool,
    read_said,
    select_labels,
    write_said,
)
from espnet_wsm.data.kaldi.lists import byte_order
from espnet_wsm.errors import report_user_errors
from espnet_wsm.files import write_text
from espnet_wsm.frames import SAMPLE_RATE

BATCH_SECONDS = 60  # of speech in a batch, padding included


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        options = verbs.add_parser(verb)
        options.add_argument("--out", type=Path, required=True, help="folder of the labels, or of the round")
        if verb in ("plan", "select"):
            options.add_argument("--speech", type=Path, required=True, help="e.g. dump/raw/unlabelled")
        if verb == "plan":
            options.add_argument(
                "--measured", type=Path, nargs="+", required=True, help="sets whose audio is not taken"
            )
            options.add_argument(
                "--but", type=Path, required=True, help="folder of the transcripts that are learnt from"
            )
        if verb in ("transcribe", "measure"):
            options.add_argument("--features", type=Path, required=True, help="stored features of the set")
            options.add_argument("--model_file", required=True, help="checkpoint in the model's folder")
            options.add_argument("--ngpu", type=int, default=0, help="0 = CPU, 1 = GPU (default: 0)")
        if verb in ("transcribe", "select"):
            options.add_argument("--nj", type=int, default=1, help="number of jobs (default: 1)")
        if verb == "transcribe":
            options.add_argument("--model", type=Path, required=True, help="experiment that transcribes")
            options.add_argument("--job", type=int, default=1, help="number of this job, from 1 (default: 1)")
            options.add_argument("--log", type=Path, help="log of this job, for a file of progress beside it")
        if verb == "select":
            options.add_argument("--leave_out", type=float, required=True, help="share of least confidence")
            options.add_argument("--tokens", type=Path, required=True, help="folder of the token list")
            options.add_argument("--token_type", required=True, help="char, bpe or unigram")
        if verb == "measure":
            options.add_argument("--teacher", type=Path, required=True, help="experiment of the round before")
            options.add_argument("--dir", type=Path, required=True, help="the set: e.g. dump/raw/dev")
    return parser


def plan(args: argparse.Namespace) -> None:
    """Write the list of what is transcribed."""
    measured = [folder for folder in args.measured if (folder / "wav.scp").is_file()]
    print(plan_pool(args.out, args.speech, measured, args.but), file=sys.stderr)


def _list_batches(num_samples: dict[str, int]) -> list[list[str]]:
    ids = sorted(num_samples, key=lambda id: (num_samples[id], byte_order(id)))
    return list(make_batches(ids, num_samples.__getitem__, BATCH_SECONDS * SAMPLE_RATE))


def _name_said(out: Path, job: int) -> Path:
    return out / "log" / f"said.{job}"


def transcribe(args: argparse.Namespace) -> None:
    """Transcribe every NJ-th batch, so that the result does not depend on the number of jobs."""
    check_job(args.job, args.nj)
    pool = read_pool(args.out)
    batches = _list_batches(pool)[args.job - 1 :: args.nj]
    said: dict[str, Said] = {}
    if batches:
        from espnet_wsm.data.features.reader import FeatureReader
        from espnet_wsm.recipe.progress import ReportingBar
        from espnet_wsm.recognition.stored import load_stored_decoder, rate_utterance, transcribe_stored

        device = str(find_device(args.ngpu))
        decoder = load_stored_decoder(args.model, args.model_file, args.features.parent, device)
        features, total = FeatureReader(args.features / "feats.scp"), sum(map(len, batches))
        with ReportingBar(args.log, total=total, desc="transcribe", unit="utt", mininterval=1) as progress:
            for id, hypothesis in transcribe_stored(decoder, features, batches, progress.update):
                said[id] = Said(" ".join(hypothesis.text.split()), rate_utterance(hypothesis))
    write_said(_name_said(args.out, args.job), said)


def select(args: argparse.Namespace) -> None:
    """Write the lists of what is learnt from."""
    from espnet_wsm.data.text.tokens import Tokenizer

    jobs = [read_said(_name_said(args.out, job)) for job in range(1, args.nj + 1)]
    said = dict(itertools.chain.from_iterable(job.items() for job in jobs))
    tokenizer = Tokenizer(args.tokens, args.token_type)
    print(select_labels(args.out, args.speech, said, tokenizer, args.leave_out), file=sys.stderr)


def measure(args: argparse.Namespace) -> None:
    """Add a round to those of the model before, and say what the error rates are."""
    from espnet_wsm.scoring.rounds import Round, read_rounds, write_rounds

    rounds = read_rounds(args.teacher) or [Round(0, args.dir.name, _measure(args.teacher, args))]
    labels = json.loads((args.out / "labels" / LABELS).read_text(encoding="utf-8"))
    kept = {name: labels[name] for name in ("transcribed", "kept", "hours")}
    rounds.append(Round(len(rounds), args.dir.name, _measure(args.out, args), **kept))
    write_rounds(args.out, rounds)
    print("; ".join(map(str, rounds)), file=sys.stderr)


def _measure(exp: Path, args: argparse.Namespace) -> float:
    """CER in percent of a model on the set whose features are stored."""
    from espnet_wsm.data.features.reader import FeatureReader
    from espnet_wsm.recognition.stored import load_stored_decoder, transcribe_stored
    from espnet_wsm.scoring.python_scorer import score_with_jiwer
    from espnet_wsm.scoring.trn import TOKENIZERS, pair_texts

    device = str(find_device(args.ngpu))
    decoder = load_stored_decoder(exp, args.model_file, args.features.parent, device)
    features, batches = FeatureReader(args.features / "feats.scp"), _list_batches(read_dump(args.dir)[1])
    hypotheses = args.out / "log" / f"{args.dir.name}.{exp.name}.txt"
    said = dict(transcribe_stored(decoder, features, batches))
    write_text(hypotheses, [f"{id} {said[id].text}".rstrip() for id in sorted(said, key=byte_order)])
    pairs = [TOKENIZERS["cer"](pair) for pair in pair_texts(args.dir / "text", hypotheses)]
    return round(score_with_jiwer(pairs).counts.error_rate, 2)


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "plan": plan,
    "transcribe": transcribe,
    "select": select,
    "measure": measure,
}


@report_user_errors
def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = make_parser().parse_args(argv)
    VERBS[args.verb](args)


if __name__ == "__main__":
    main()
