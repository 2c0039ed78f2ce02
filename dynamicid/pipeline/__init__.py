"""DynamicID with diffusers: ``pipeline.DynamicIDPipeline`` takes photos, places and prompts and returns pictures."""
