"""Training: from folders of photos to weight files that the nodes load. No node imports anything from here.

    python -m dynamicid cache saa --config FILE.toml      cache_saa.py   frozen networks applied once, ahead of training
    python -m dynamicid train saa --config FILE.toml      train_saa.py   stage 1: face projector and SAA layers
    python -m dynamicid cache imr --config FILE.toml      cache_imr.py
    python -m dynamicid train imr --config FILE.toml      train_imr.py   stage 2: IMR and key-point encoder

``config.py`` documents every key, ``examples/`` holds a configuration of each stage, docs/training.md the whole run.
With several GPUs or machines: ``accelerate launch -m dynamicid train ...``; the result does not depend on their number.
"""
