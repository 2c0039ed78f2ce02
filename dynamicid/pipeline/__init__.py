"""The method with diffusers: base model, SAA processors, painter and weight export."""
