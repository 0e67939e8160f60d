"""Pictures: cameras, colours, the ray caster's scenes, PNG and SVG."""
