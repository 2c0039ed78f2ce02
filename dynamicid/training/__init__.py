"""Training: from folders of photos to weight files that the nodes load. No node needs anything in here.

    python -m dynamicid cache saa --config FILE.toml      cache_saa.py, cache_imr.py: what never changes, computed ahead
    python -m dynamicid train saa --config FILE.toml      train_saa.py: stage 1, projector and SAA layers
    python -m dynamicid train imr --config FILE.toml      train_imr.py: stage 2, IMR and key-point encoder

On several GPUs or machines: ``accelerate launch -m dynamicid train ...``; the result does not depend on their number.
``examples/`` holds a configuration for each stage; ``config.py`` explains every key. ``synthetic/`` draws test data.
"""
