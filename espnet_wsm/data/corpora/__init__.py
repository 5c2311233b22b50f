"""From what people have (tables, Debian packages, folders of a corpus) to data directories."""
