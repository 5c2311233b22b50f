"""The prefix cache on disk: the features (T, D) of each utterance from the frozen layers, computed once.

A cache is a folder of safetensors shards, with one tensor per utterance, named by its id, and Kaldi lists.
`plan_cache` decides what to compute and what to keep from earlier runs, parallel jobs pass their results to a
`ShardWriter`, `merge_cache` checks and completes the cache, `check_cache` is called before every use, and
`FeatureReader` reads the features for a data loader. While ``plan.json`` exists, the cache is being made;
``cache.json`` is written last, when it is complete.

The header of a shard holds everything its features depend on (the settings of the cache and a stamp of each
audio file) and a checksum of the features of each utterance. So the remains of a killed job can be judged
without any other file, and features that a disk has corrupted are not used.
"""
