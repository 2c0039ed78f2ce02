"""The demo: photos in, a contact sheet out, in a headless ComfyUI or with diffusers."""
