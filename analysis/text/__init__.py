"""Tables as text: CSV, JSON, Markdown, LaTeX, each safe in its format."""
