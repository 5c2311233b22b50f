#!/usr/bin/env bash
# debian_multi: pre-trains a small HuBERT on the voices of Debian packages, in several iterations.
# Stages: 1 data, 2 audio and MFCC targets, 3 first iteration, 4 the others, each on clusters of the middle layer of
# the one before, 5 export. A stopped training is resumed.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh
# Those of the ASR recipes mean nothing here.
shared_options=()

stage=1                       # first stage
stop_stage=5                  # last stage
nj=2                          # parallel jobs for audio
ngpu=0                        # GPUs for training, of each machine
num_nodes=1                   # machines for training, with a launcher for Slurm
num_threads=2                 # CPU threads of clustering and training
cmd=../../../conf/cluster/local.sh # launcher with Kaldi's command line (run.pl, slurm.pl, queue.pl also fit)
name=multi                    # of the model: data/NAME, dump/NAME, exp/NAME
# Voices with compatible licences; only these may be used for weights that are published.
sources="asterisk_en asterisk_es asterisk_fr asterisk_it asterisk_ru festvox_ru armelle_fr menardi_it" # voices, see local/data.py --help
downloads=downloads           # unpacked Debian packages; fetched with apt-get if they are not there
speed_perturb="0.9 1.0 1.1"   # copies at these speeds; empty: as recorded
train_config=conf/train_hubert.yaml # ESPnet training configuration
num_clusters="100 250"        # k-means clusters of each iteration; their number is the number of iterations
layer=5                       # layer of each model that is clustered for the next iteration, 1 = the lowest
max_epoch="11 50"             # epochs (of 100 batches) of each iteration; the last number applies to later ones too
seed=0                        # seed of clusters and training
train_args=                   # more arguments for hubert_train
export_dir=                   # folder for the model; empty: exp/NAME/upstream
private=false                 # true: export a model that must not be published, whatever the licences of its voices

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
read -ra num_clusters <<<"${num_clusters}"
read -ra max_epoch <<<"${max_epoch}"
iterations=${#num_clusters[@]}
((iterations > 0 && ${#max_epoch[@]} > 0)) || die "--num_clusters and --max_epoch need a number for each iteration"
data=data/${name} dump=dump/${name} exp=exp/${name}
# shellcheck source=egs/debian_multi/ssl1/local/stages.sh
. local/stages.sh

((stage > 1 || stop_stage < 1)) || make_data
((stage > 2 || stop_stage < 2)) || make_dump
((stage > 3 || stop_stage < 3)) || pretrain 1
((stage > 4 || stop_stage < 4)) || pretrain_further
((stage > 5 || stop_stage < 5)) || export_model
