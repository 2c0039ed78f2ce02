"""The only rooms, with nodes/, that know ComfyUI: model patch, encoders, folders, images."""
