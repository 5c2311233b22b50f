"""The names of precisions in which a trained model runs; apart, as command lines show them without torch."""

# As the training's configuration has it; the fastest that the processor is made for; and what torch calls so.
DTYPES = ("trained", "auto", "float32", "bfloat16", "float16")
